#!lua flags=allow-oom
-- #include _wake
-- #include _let_go
-- Move what a dead worker held to the front of its queues, or what is poison to the dead set, and end that life for
-- good. Poison leaves a notice for death handlers, and nudges the worker that looks for them.
-- Optimistic: the caller read epoch and entries and says what it read. RACE rescue against a live worker: refused
-- while `alive` stands, unless the caller vouches that the process is gone, and refused when a new life has begun.
-- RACE finish after rescue: the record is gone, so every script of the old life answers STALE. What stays for a while is
-- that it was rescued: a worker without a record would else take a Redis that was restarted for one that lost its data.
-- Allowed in a Redis that is full: it takes no more than it gives.
-- KEYS record, alive, working, checkpoints, workers, fleet, quiet, dead, inflight, deaths, rescued,
--      then for each queue: queue, wake
-- ARGV vouched (1 or 0), epoch that was read ('' = no record), worker, events channel, forget quiet (1 or 0), death score,
--      nudge channel, seconds that it stays known, then for each entry, the newest first: number, queue, its place among the keys (from 1; 0 = dead
--      set, -1 = nowhere), payload
local record, alive, working, checkpoints, workers, fleet, quiet, dead, inflight, deaths, rescued = unpack(KEYS, 1, 11)
if ARGV[1] ~= '1' and redis.call('EXISTS', alive) == 1 then return {'ALIVE', 0} end
if (redis.call('HGET', record, 'epoch') or '') ~= ARGV[2] then return {'MOVED', 0} end
local moved = 0
local given = {}
local noticed = false
for at = 9, #ARGV, 4 do
  local number, queue, place, payload = ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  if redis.call('HDEL', working, number) == 1 then
    moved = moved + 1
    let_go(inflight, queue, 1)
    if place < 1 then
      if place == 0 then redis.call('ZADD', dead, ARGV[6], payload) end
      redis.call('ZADD', deaths, redis.call('TIME')[1], payload)
      noticed = true
    else
      redis.call('RPUSH', KEYS[10 + 2 * place], payload)
      given[place] = (given[place] or 0) + 1
    end
  end
end
for place, count in pairs(given) do wake(KEYS[11 + 2 * place], count) end
if noticed then redis.call('PUBLISH', ARGV[7], 'death') end
if redis.call('HLEN', working) > 0 then return {'MORE', moved} end
redis.call('DEL', record, alive, checkpoints)
if ARGV[2] ~= '' then redis.call('SET', rescued, ARGV[2], 'EX', ARGV[8]) end
redis.call('SREM', workers, ARGV[3])
redis.call('HDEL', fleet, ARGV[3])
if ARGV[5] == '1' then redis.call('DEL', quiet) end
redis.call('PUBLISH', ARGV[4], 'gone ' .. ARGV[3])
return {'OK', moved}
