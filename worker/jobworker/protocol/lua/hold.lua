-- Hold jobs anew that run in the worker and that Redis forgot. Entries that are held already are passed over.
-- KEYS working, inflight   ARGV for each job: number, queue, entry
for at = 1, #ARGV, 3 do
  if redis.call('HSETNX', KEYS[1], ARGV[at], ARGV[at + 2]) == 1 then
    redis.call('HINCRBY', KEYS[2], ARGV[at + 1], 1)
  end
end
return redis.call('HLEN', KEYS[1])
