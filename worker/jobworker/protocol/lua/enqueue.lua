-- #include _wake
-- Push payloads of one queue and wake workers that wait for it.
-- KEYS queues, queue, wake   ARGV queue name, payload…
redis.call('SADD', KEYS[1], ARGV[1])
for from = 2, #ARGV, 1000 do
  redis.call('LPUSH', KEYS[2], unpack(ARGV, from, math.min(from + 999, #ARGV)))
end
wake(KEYS[3], #ARGV - 1)
return redis.call('LLEN', KEYS[2])
