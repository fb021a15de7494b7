-- Move entries of the schedule or the retry set to the dead set as they are, and keep the dead set within its bounds.
-- An entry that somebody else moved or deleted since it was read is passed over. Returns how many were moved.
-- KEYS set, dead   ARGV time of death, oldest dead score, dead set's bound, member…
local moved = 0
for at = 4, #ARGV do
  if redis.call('ZREM', KEYS[1], ARGV[at]) == 1 then
    redis.call('ZADD', KEYS[2], ARGV[1], ARGV[at])
    moved = moved + 1
  end
end
if moved > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', '(' .. ARGV[2])
  redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -tonumber(ARGV[3]) - 1)
end
return moved
