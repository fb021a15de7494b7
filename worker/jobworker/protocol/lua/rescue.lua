-- #include _wake
-- #include _let_go
-- Move what a dead worker held to the front of its queues, or to the dead set, and end that life for good.
-- Optimistic: the caller read epoch and entries and says what it read. RACE rescue against a live worker: refused
-- while `alive` stands, unless the caller vouches that the process is gone, and refused when a new life has begun.
-- RACE finish after rescue: the record is gone, so every script of the old life answers STALE.
-- KEYS record, alive, working, checkpoints, workers, fleet, quiet, dead, inflight, then for each queue: queue, wake
-- ARGV vouched (1 or 0), epoch that was read ('' = no record), worker, events channel, forget quiet (1 or 0), death score,
--      then for each entry, the newest first: number, queue, its place among the keys (from 1; 0 = dead set), payload
local record, alive, working, checkpoints, workers, fleet, quiet, dead, inflight = unpack(KEYS, 1, 9)
if ARGV[1] ~= '1' and redis.call('EXISTS', alive) == 1 then return {'ALIVE', 0} end
if (redis.call('HGET', record, 'epoch') or '') ~= ARGV[2] then return {'MOVED', 0} end
local moved = 0
local given = {}
for at = 7, #ARGV, 4 do
  local number, queue, place, payload = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  if redis.call('HDEL', working, number) == 1 then
    moved = moved + 1
    let_go(inflight, queue, 1)
    if place == 0 then
      redis.call('ZADD', dead, ARGV[6], payload)
    else
      redis.call('RPUSH', KEYS[8 + 2 * place], payload)
      given[place] = (given[place] or 0) + 1
    end
  end
end
for place, count in pairs(given) do wake(KEYS[9 + 2 * place], count) end
if redis.call('HLEN', working) > 0 then return {'MORE', moved} end
redis.call('DEL', record, alive, checkpoints)
redis.call('SREM', workers, ARGV[3])
redis.call('HDEL', fleet, ARGV[3])
if ARGV[5] == '1' then redis.call('DEL', quiet) end
redis.call('PUBLISH', ARGV[4], 'gone ' .. ARGV[3])
return {'OK', moved}
