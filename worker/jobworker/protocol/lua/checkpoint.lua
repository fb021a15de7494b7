#!lua flags=allow-oom
-- #include _done
-- Write cursor and progress of a job, if this life of this worker still holds it.
-- RACE a worker that was stopped and comes back: its jobs were rescued, its epoch is gone, and the write is refused.
-- The rows that are done are 1 to `processed`, so none of them is written; those that failed come as chunks of a set.
-- KEYS record, working, checkpoints, iteration, progress, errors, failed rows, then for each kind of id: numbers, texts
-- What stands there already is not written again; the checkpoint is as old as what is not safe by it: `age`.
-- ARGV epoch, number, seconds that the state lives, cursor, executions, seconds run, tries of the present item, age in ms,
--      number of progress fields, field, value…, number of chunks of failed rows, chunk, bits…,
--      number of rows with messages, row, messages…, then for each kind of id as `_done` has it; last the worker
-- Where the job runs is written each time: a Redis that lost its data would show it as waiting.
local record, working, checkpoints, iteration, progress, errors, failed = unpack(KEYS, 1, 7)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
if redis.call('HEXISTS', working, ARGV[2]) == 0 then return {'NOT_HELD'} end
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
local stamp = string.format('%.0f', ms)
redis.call('HSET', checkpoints, ARGV[2], string.format('%.0f', ms - tonumber(ARGV[8])))
local known = redis.call('HMGET', iteration, 'c', 'ex', 'tries')
if known[1] ~= ARGV[4] or known[2] ~= ARGV[5] or (known[3] or '0') ~= ARGV[7] then
  redis.call('HSET', iteration, 'c', ARGV[4], 'ex', ARGV[5], 'rt', ARGV[6])
  if ARGV[7] ~= '0' then redis.call('HSET', iteration, 'tries', ARGV[7]) else redis.call('HDEL', iteration, 'tries') end
end
redis.call('EXPIRE', iteration, ARGV[3])
local at = 10
local fields = tonumber(ARGV[9])
if fields > 0 then
  redis.call('HSET', progress, 'updated_at', stamp, 'worker', ARGV[#ARGV], 'number', ARGV[2],
    unpack(ARGV, at, at + 2 * fields - 1))
  redis.call('EXPIRE', progress, ARGV[3])
  at = at + 2 * fields
  local chunks = tonumber(ARGV[at])
  for i = at + 1, at + 2 * chunks, 2 do merge(failed, ARGV[i], ARGV[i + 1]) end
  at = at + 1 + 2 * chunks
  local rows = tonumber(ARGV[at])
  for i = at + 1, at + 2 * rows, 2 do redis.call('HSET', errors, ARGV[i], ARGV[i + 1]) end
  at = at + 1 + 2 * rows
  redis.call('EXPIRE', failed, ARGV[3])
  redis.call('EXPIRE', errors, ARGV[3])
  note_done(progress, ARGV[3], 8, at)
end
local wishes = redis.call('HMGET', iteration, 'cancelled', 'paused')
return {'OK', wishes[1], wishes[2]}
