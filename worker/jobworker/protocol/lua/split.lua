-- #include _join
-- Split a job into slices, each a job of its own, and put all of them onto their queue: one step, which is carried out
-- once for a job however often it is asked, so that no death leaves some slices out or has some twice. What will join
-- them is kept beside: the worker lets go of the job after this, and nobody holds it until its last slice ends.
-- KEYS record, working, slices, progress, iteration, queues, queue, wake
-- ARGV epoch, number, seconds that the progress lives, seconds that the slices are known, queue, unit of the payloads'
--      times (seconds or milliseconds), the beginning of the payload that joins (all up to the time), how many rows all
--      slices have ('' = nobody knows), payload…
-- Returns SPLIT, ALREADY, or that it is to be CANCELLED or PAUSED and was not split.
local record, working, slices, progress, iteration, queues, queue, tokens = unpack(KEYS)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
if redis.call('HEXISTS', working, ARGV[2]) == 0 then return {'NOT_HELD'} end
if redis.call('EXISTS', slices) == 1 then return {'ALREADY'} end
local wishes = redis.call('HMGET', iteration, 'cancelled', 'paused')
if wishes[1] then return {'CANCELLED'} end
if wishes[2] then return {'PAUSED'} end
local count = #ARGV - 8
redis.call('HSET', slices, 'count', count, 'left', count, 'queue', ARGV[5], 'unit', ARGV[6], 'join', ARGV[7])
for i = 0, count - 1 do redis.call('HSET', slices, 's' .. i, 'left') end
redis.call('EXPIRE', slices, ARGV[4])
local now = redis.call('TIME')
local stamp = string.format('%d%03d', now[1], math.floor(now[2] / 1000))
redis.call('HSETNX', progress, 'started_at', stamp)
redis.call('HSET', progress, 'slices', count, 'began_at', stamp, 'updated_at', stamp)
if ARGV[8] ~= '' then redis.call('HSET', progress, 'total', ARGV[8]) end
redis.call('EXPIRE', progress, ARGV[3])
if count == 0 then push_join(slices, queues, queue, tokens, ARGV[5]) end
redis.call('SADD', queues, ARGV[5])
for from = 9, #ARGV, 1000 do
  redis.call('LPUSH', queue, unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
wake(tokens, count)
return {'SPLIT'}
