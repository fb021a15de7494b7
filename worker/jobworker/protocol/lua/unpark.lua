-- #include _wake
-- Put a parked job to the front of its queue, to go on, or to hear that it is cancelled.
-- Optimistic: the caller says which entry it read. RACE two people resume the job: the second finds it moved.
-- KEYS parked, iteration, queues, queue, wake
-- ARGV jid, entry that was read, payload to push, queue, is it cancelled (1 or 0), seconds that the state lives
-- Returns 1, or 0 if that entry is not parked any more.
local parked, iteration, queues, queue, tokens = unpack(KEYS)
if redis.call('HGET', parked, ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('RPUSH', queue, ARGV[3])
redis.call('SADD', queues, ARGV[4])
redis.call('HDEL', parked, ARGV[1])
redis.call('HDEL', iteration, 'paused')
if ARGV[5] == '1' then
  redis.call('HSETNX', iteration, 'cancelled', redis.call('TIME')[1])
  redis.call('EXPIRE', iteration, ARGV[6])
end
wake(tokens, 1)
return 1
