#!lua flags=allow-oom
-- #include _wake
-- #include _let_go
-- Lay a held job that shall rest where only a resume finds it, and let go of it: one step. Before it the job is held,
-- and a rescue puts it back, so that its next holder parks it; after it the job is parked.
-- RACE resume or cancel after the checkpoint that told of the pause: the wish is asked for once more, and without it
-- the job goes to the front of its queue.
-- Of two copies of one job, which share their place, one rests.
-- Writes before it removes, so that a foreign key of another type costs an error and no job.
-- Allowed in a Redis that is full: it takes no more than it gives.
-- KEYS record, working, checkpoints, inflight, iteration, parked, queue, wake   ARGV epoch, number, jid, queue, payload
local record, working, checkpoints, inflight, iteration, parked, queue, tokens = unpack(KEYS)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
if redis.call('HEXISTS', working, ARGV[2]) == 0 then return {'NOT_HELD'} end
local wishes = redis.call('HMGET', iteration, 'cancelled', 'paused')
local rests = wishes[2] and not wishes[1]
if rests then
  local now = redis.call('TIME')
  local stamp = string.format('%d%03d', now[1], math.floor(now[2] / 1000))
  redis.call('HSETNX', parked, ARGV[3], stamp .. ' ' .. ARGV[4] .. '\n' .. ARGV[5])
else
  redis.call('RPUSH', queue, ARGV[5])
  wake(tokens, 1)
end
redis.call('HDEL', working, ARGV[2])
redis.call('HDEL', checkpoints, ARGV[2])
let_go(inflight, ARGV[4], 1)
return {rests and 'PARKED' or 'BACK'}
