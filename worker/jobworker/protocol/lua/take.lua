-- #include _take
-- RACE quiet between pop and start: the test for quiet and the pop are one step here, so a worker that was quieted
-- before this script takes nothing, and what it took before is visible to whoever quiets it.
-- KEYS record, working, quiet, paused, limits, inflight, queue…
-- ARGV epoch, count, first number, then for each queue: name, how many of it this worker holds
local record, working, quiet, paused, limits, inflight = unpack(KEYS, 1, 6)
local number = tonumber(ARGV[3])
local epoch, void = unpack(redis.call('HMGET', record, 'epoch', void_field(number)))
if epoch ~= ARGV[1] then return {'STALE'} end
if void and number < tonumber(void) then return {'OK', {}} end
local reason = redis.call('GET', quiet)
if reason then return {'QUIET', reason} end
local keys, names, held = queues_of(7, 4)
return {'OK', take(working, paused, limits, inflight, keys, names, held, tonumber(ARGV[2]), number)}
