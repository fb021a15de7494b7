-- Carry out a push once, however often it is asked: its producer remembers by a guard which push came last, written in
-- the same step. A producer has one push at a time on a guard, and never again uses one on which an answer was lost:
-- what was cut off may arrive late.
local function once(guard, token, push)
  if redis.call('GET', guard) == token then return -1 end
  local answer = push()
  redis.call('SET', guard, token, 'EX', 86400)
  return answer
end
