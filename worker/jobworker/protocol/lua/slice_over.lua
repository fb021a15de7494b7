#!lua flags=allow-oom
-- #include _join
-- A slice has ended, done or cancelled. The last one that does puts the job that joins them onto its queue, in the same
-- step: each slice is counted once however often it is told, so the job is joined once. Of slices of which one was
-- cancelled nothing is joined: the whole job is cancelled then.
-- Asked before Redis knows the end of the slice's own job: a death in between has it walk nothing, and tell it again.
-- KEYS record, working, slices, progress, iteration, queues, queue, wake: of the worker, then of the whole job
-- ARGV epoch, number, slice, done or cancelled, queue, seconds that slices and progress are known, and once it ended
-- Returns how many slices are left; -1 where the whole job is unknown by now.
local record, working, slices, progress, iteration, queues, queue, tokens = unpack(KEYS)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
if redis.call('HEXISTS', working, ARGV[2]) == 0 then return {'NOT_HELD'} end
local field = 's' .. ARGV[3]
local before = redis.call('HGET', slices, field)
if not before then return {'OK', -1} end
if before ~= 'left' then return {'OK', tonumber(redis.call('HGET', slices, 'left'))} end
redis.call('HSET', slices, field, ARGV[4])
redis.call('HINCRBY', slices, ARGV[4], 1)
redis.call('EXPIRE', slices, ARGV[6])
local left = redis.call('HINCRBY', slices, 'left', -1)
local now = redis.call('TIME')
local stamp = string.format('%d%03d', now[1], math.floor(now[2] / 1000))
redis.call('HSET', progress, 'updated_at', stamp)
redis.call('EXPIRE', progress, ARGV[6])
if left > 0 then return {'OK', left} end
if redis.call('HEXISTS', slices, 'cancelled') == 1 then
  redis.call('HSET', progress, 'end', 'cancelled', 'ended_at', stamp)
  redis.call('EXPIRE', progress, ARGV[7])
  redis.call('EXPIRE', slices, ARGV[7])
  redis.call('DEL', iteration)
  return {'OK', 0}
end
push_join(slices, queues, queue, tokens, ARGV[5])
return {'OK', 0}
