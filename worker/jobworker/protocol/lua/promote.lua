-- #include _wake
-- Move due entries of the schedule or the retry set to their queues. An entry that somebody else moved, or a person
-- deleted, since it was read is passed over: pop and push are one step.
-- KEYS set, queues, then for each queue: queue, wake
-- ARGV for each entry: member, queue's place among the keys (from 1), queue name, payload to push
local moved = 0
for at = 1, #ARGV, 4 do
  local place = tonumber(ARGV[at + 1])
  if redis.call('ZREM', KEYS[1], ARGV[at]) == 1 then
    redis.call('SADD', KEYS[2], ARGV[at + 2])
    redis.call('LPUSH', KEYS[1 + 2 * place], ARGV[at + 3])
    wake(KEYS[2 + 2 * place], 1)
    moved = moved + 1
  end
end
return moved
