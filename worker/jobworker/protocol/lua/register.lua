-- Begin a new life of a worker. Refused while the life before still holds jobs: they are rescued first,
-- so that numbers of this life never meet those of the last one. Asked again by the same life, whose first answer was
-- lost, it is carried out again, whatever that life holds by now.
-- KEYS record, alive, working, workers, quiet, fleet   ARGV epoch, ttl_ms, worker, events channel, field, value…
local record, alive, working, workers, quiet, fleet = unpack(KEYS)
if redis.call('HLEN', working) > 0 and redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'HELD'} end
local now = redis.call('TIME')
redis.call('DEL', record)
redis.call('HSET', record, 'epoch', ARGV[1], 'beat', now[1] .. '.' .. string.format('%06d', now[2]),
  'ttl_ms', ARGV[2], unpack(ARGV, 5))
redis.call('SET', alive, ARGV[1], 'PX', ARGV[2])
redis.call('SADD', workers, ARGV[3])
redis.call('HSET', fleet, ARGV[3], ARGV[1])
redis.call('PUBLISH', ARGV[4], 'registered ' .. ARGV[3])
return {'OK', redis.call('GET', quiet)}
