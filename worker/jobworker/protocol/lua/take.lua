-- #include _take
-- RACE quiet between pop and start: the test for quiet and the pop are one step here, so a worker that was quieted
-- before this script takes nothing, and what it took before is visible to whoever quiets it.
-- KEYS record, working, quiet, paused, queue…   ARGV epoch, count, first number, queue name…
local record, working, quiet, paused = unpack(KEYS, 1, 4)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
local reason = redis.call('GET', quiet)
if reason then return {'QUIET', reason} end
local taken = take(working, paused, {unpack(KEYS, 5)}, {unpack(ARGV, 4)}, tonumber(ARGV[2]), tonumber(ARGV[3]))
return {'OK', taken}
