-- End a life cleanly. What is still held keeps the record, for a rescue to find.
-- KEYS record, alive, working, checkpoints, workers, fleet   ARGV epoch, worker, events channel
local record, alive, working, checkpoints, workers, fleet = unpack(KEYS)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
redis.call('DEL', alive)
if redis.call('HLEN', working) > 0 then return {'HELD'} end
redis.call('DEL', record, checkpoints)
redis.call('SREM', workers, ARGV[2])
redis.call('HDEL', fleet, ARGV[2])
redis.call('PUBLISH', ARGV[3], 'gone ' .. ARGV[2])
return {'OK'}
