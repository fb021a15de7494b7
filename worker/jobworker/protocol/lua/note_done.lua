#!lua flags=allow-oom
-- #include _done
-- Note at once which ids of a job are done, if this life of this worker still holds it: for effects that shall not be
-- repeated even where the next checkpoint is never written.
-- KEYS record, working, progress, then for each kind: numbers, texts
-- ARGV epoch, number, seconds that it lives, then as `_done` has it
local record, working, progress = unpack(KEYS, 1, 3)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
if redis.call('HEXISTS', working, ARGV[2]) == 0 then return {'NOT_HELD'} end
note_done(progress, ARGV[3], 4, 4)
redis.call('EXPIRE', progress, ARGV[3])
return {'OK'}
