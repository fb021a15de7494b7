-- Hold jobs anew that run in the worker and that Redis forgot. Entries that are held already are passed over.
-- When they were taken, Redis alone knew: what has 0 for it is taken now.
-- KEYS working, inflight   ARGV for each job: number, queue, entry
local now = redis.call('TIME')
local stamp = string.format('%d%03d', now[1], math.floor(now[2] / 1000))
for at = 1, #ARGV, 3 do
  local entry = ARGV[at + 2]
  if string.sub(entry, 1, 2) == '0 ' then entry = stamp .. string.sub(entry, 2) end
  if redis.call('HSETNX', KEYS[1], ARGV[at], entry) == 1 then
    redis.call('HINCRBY', KEYS[2], ARGV[at + 1], 1)
  end
end
return redis.call('HLEN', KEYS[1])
