#!lua flags=allow-oom
-- #include _wake
-- #include _let_go
-- Put jobs that were not finished back where they came from: not started ones and interrupted ones at the front,
-- or at the back where the job asks for it. No retry is counted. Allowed in a Redis that is full: it takes no more than
-- it gives.
-- KEYS record, working, checkpoints, inflight, then for each queue: queue, wake
-- ARGV epoch, number of queues, their names, then for each job: number, queue's place among them (from 1),
--      front or back, payload
local record, working, checkpoints, inflight = unpack(KEYS, 1, 4)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
local lost = {}
local given = {}
local queues = tonumber(ARGV[2])
for at = 3 + queues, #ARGV, 4 do
  local number, place, side, payload = ARGV[at], tonumber(ARGV[at + 1]), ARGV[at + 2], ARGV[at + 3]
  if redis.call('HDEL', working, number) == 1 then
    redis.call('HDEL', checkpoints, number)
    local key = KEYS[3 + 2 * place]
    if side == 'front' then redis.call('RPUSH', key, payload) else redis.call('LPUSH', key, payload) end
    given[place] = (given[place] or 0) + 1
  else
    lost[#lost + 1] = number
  end
end
for place, count in pairs(given) do
  let_go(inflight, ARGV[2 + place], count)
  wake(KEYS[4 + 2 * place], count)
end
return {'OK', lost}
