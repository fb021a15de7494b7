#!lua flags=allow-oom
-- #include _wake
-- Move due entries of the schedule or the retry set to their queues, or to the dead set. An entry that somebody else
-- moved, or a person deleted, since it was read is passed over: pop and push are one step.
-- Allowed in a Redis that is full: it takes no more than it gives.
-- KEYS set, queues, dead, then for each queue: queue, wake
-- ARGV time of death, number of queues, their names, then for each entry (a thousand at most):
--      member, queue's place among the keys (from 1; 0 = dead set), payload to push
-- Returns how many were moved, and how many of them to the dead set.
local set, queues, dead = unpack(KEYS, 1, 3)
local count = tonumber(ARGV[2])
local moved, buried, pushes, blocked = 0, 0, {}, {}
for place = 1, count do
  -- Somebody's key of another type stands where the queue should: found out before anything is removed.
  local kind = redis.call('TYPE', KEYS[2 + 2 * place]).ok
  blocked[place] = kind ~= 'list' and kind ~= 'none'
end
for at = count + 3, #ARGV, 3 do
  local place = tonumber(ARGV[at + 1])
  if redis.call('ZREM', set, ARGV[at]) == 1 then
    moved = moved + 1
    if place == 0 or blocked[place] then
      redis.call('ZADD', dead, ARGV[1], ARGV[at + 2])
      buried = buried + 1
    else
      local push = pushes[place] or {}
      push[#push + 1] = ARGV[at + 2]
      pushes[place] = push
    end
  end
end
for place, push in pairs(pushes) do
  redis.call('SADD', queues, ARGV[2 + place])
  redis.call('LPUSH', KEYS[2 + 2 * place], unpack(push))
  wake(KEYS[3 + 2 * place], #push)
end
return {moved, buried}
