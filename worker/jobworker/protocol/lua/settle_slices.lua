#!lua flags=allow-oom
-- Slices of a cancelled job that nobody will ever run count as cancelled: the whole job is over with the last one.
-- KEYS slices, progress, iteration: of the whole job
-- ARGV seconds that slices and progress are known, and once it ended, slice…
-- Returns how many slices are left; -1 where the whole job is unknown by now.
local slices, progress, iteration = unpack(KEYS)
if redis.call('EXISTS', slices) == 0 then return -1 end
local settled = 0
for at = 3, #ARGV do
  -- One that ended since it was looked for is left alone.
  if redis.call('HGET', slices, 's' .. ARGV[at]) == 'left' then
    redis.call('HSET', slices, 's' .. ARGV[at], 'cancelled')
    settled = settled + 1
  end
end
local left = tonumber(redis.call('HGET', slices, 'left'))
if settled == 0 then return left end
redis.call('HINCRBY', slices, 'cancelled', settled)
left = redis.call('HINCRBY', slices, 'left', -settled)
local now = redis.call('TIME')
local stamp = string.format('%d%03d', now[1], math.floor(now[2] / 1000))
redis.call('HSET', progress, 'updated_at', stamp)
if left > 0 then
  redis.call('EXPIRE', slices, ARGV[1])
  redis.call('EXPIRE', progress, ARGV[1])
else
  redis.call('HSET', progress, 'end', 'cancelled', 'ended_at', stamp)
  redis.call('EXPIRE', progress, ARGV[2])
  redis.call('EXPIRE', slices, ARGV[2])
  redis.call('DEL', iteration)
end
return left
