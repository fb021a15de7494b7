#!lua flags=allow-oom
-- Write cursor and progress of a job, if this life of this worker still holds it.
-- RACE a worker that was stopped and comes back: its jobs were rescued, its epoch is gone, and the write is refused.
-- KEYS record, working, checkpoints, iteration, progress, rows, errors
-- ARGV epoch, number, seconds that the state lives, cursor, executions, seconds run,
--      number of progress fields, field, value…, number of rows, row…, then row, messages…
local record, working, checkpoints, iteration, progress, rows, errors = unpack(KEYS)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
if redis.call('HEXISTS', working, ARGV[2]) == 0 then return {'NOT_HELD'} end
local now = redis.call('TIME')
local stamp = string.format('%d%03d', now[1], math.floor(now[2] / 1000))
redis.call('HSET', checkpoints, ARGV[2], stamp)
redis.call('HSET', iteration, 'c', ARGV[4], 'ex', ARGV[5], 'rt', ARGV[6])
redis.call('EXPIRE', iteration, ARGV[3])
local at = 8
local fields = tonumber(ARGV[7])
if fields > 0 then
  redis.call('HSET', progress, 'updated_at', stamp, unpack(ARGV, at, at + 2 * fields - 1))
  redis.call('EXPIRE', progress, ARGV[3])
  at = at + 2 * fields
end
local count = tonumber(ARGV[at])
for i = at + 1, at + count do redis.call('SETBIT', rows, ARGV[i], 1) end
if count > 0 then redis.call('EXPIRE', rows, ARGV[3]) end
at = at + count + 1
if at <= #ARGV then
  for i = at, #ARGV, 2 do redis.call('HSET', errors, ARGV[i], ARGV[i + 1]) end
  redis.call('EXPIRE', errors, ARGV[3])
end
local wishes = redis.call('HMGET', iteration, 'cancelled', 'paused')
if wishes[1] then
  -- The iteration state goes when the job ends; that it was cancelled can be read for as long as its progress.
  redis.call('HSET', progress, 'cancelled', wishes[1])
  redis.call('EXPIRE', progress, ARGV[3])
end
return {'OK', wishes[1], wishes[2]}
