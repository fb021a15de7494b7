#!lua flags=allow-oom
-- Say that this life goes on, and hear whether it shall be quiet. A quiet worker that holds nothing and runs nothing
-- is announced as drained; the worker beats at once when it gets there, so nobody has to wait for a period.
-- Allowed in a Redis that is full: jobs that end make room again, and a worker that cannot beat would be taken for dead.
-- KEYS record, alive, quiet, working   ARGV epoch, ttl_ms, worker, events channel, running, field, value…
local record, alive, quiet, working = unpack(KEYS)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
local now = redis.call('TIME')
redis.call('HSET', record, 'beat', now[1] .. '.' .. string.format('%06d', now[2]), 'running', ARGV[5], unpack(ARGV, 6))
redis.call('SET', alive, ARGV[1], 'PX', ARGV[2])
local reason = redis.call('GET', quiet)
if reason and ARGV[5] == '0' and redis.call('HLEN', working) == 0 then
  redis.call('PUBLISH', ARGV[4], 'drained ' .. ARGV[3])
end
return {'OK', reason}
