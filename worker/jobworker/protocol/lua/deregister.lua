-- End a life cleanly. What is still held keeps the record, for a rescue to find. What Sidekiq's readers were shown goes
-- in any case: this process ends, whoever else lives under the worker's name by now.
-- KEYS record, alive, working, checkpoints, workers, fleet, and where the process was shown:
--      processes, its record, work, work by its old name, signals
-- ARGV epoch, worker, events channel, identity of the process
local record, alive, working, checkpoints, workers, fleet = unpack(KEYS, 1, 6)
if #KEYS > 6 then
  redis.pcall('SREM', KEYS[7], ARGV[4])
  redis.call('UNLINK', unpack(KEYS, 8))
end
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
redis.call('DEL', alive)
if redis.call('HLEN', working) > 0 then return {'HELD'} end
redis.call('DEL', record, checkpoints)
redis.call('SREM', workers, ARGV[2])
redis.call('HDEL', fleet, ARGV[2])
redis.call('PUBLISH', ARGV[3], 'gone ' .. ARGV[2])
return {'OK'}
