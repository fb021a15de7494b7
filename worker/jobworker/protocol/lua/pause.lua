-- Keep all workers from taking jobs of a queue: for good, or until a time. The last call counts, so a pause for good
-- forgets the end of one for a time. Returns 1 if the queue was not paused before.
-- KEYS paused, paused_until   ARGV queue name, ms that it lasts ('' = until somebody lifts it)
local fresh = redis.call('SADD', KEYS[1], ARGV[1])
if ARGV[2] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  local now = redis.call('TIME')
  local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
  redis.call('ZADD', KEYS[2], string.format('%.0f', ms + tonumber(ARGV[2])), ARGV[1])
end
return fresh
