-- Leave up to `count` tokens, each of which wakes one waiting worker. Bounded and short-lived: a token that nobody
-- waits for costs one empty take, a token too few is made good by the workers, whom Redis tells of changed queues.
local function wake(key, count)
  local room = math.min(count, 16 - redis.call('LLEN', key))
  for _ = 1, room do redis.call('RPUSH', key, '1') end
  if room > 0 then redis.call('EXPIRE', key, 60) end
end
