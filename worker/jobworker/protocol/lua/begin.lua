#!lua flags=allow-oom
-- Begin a run of an iterating job, if this life of this worker still holds it: read where it stands, and note since when
-- it runs and where, so that its progress tells so from the first moment on. A job that is to be paused does not begin.
-- KEYS record, working, iteration, progress, errors   ARGV epoch, number, worker, seconds that the state lives
-- Returns OK and three hashes as they were: iteration, progress, errors
local record, working, iteration, progress, errors = unpack(KEYS)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
if redis.call('HEXISTS', working, ARGV[2]) == 0 then return {'NOT_HELD'} end
local state, before = redis.call('HGETALL', iteration), redis.call('HGETALL', progress)
local cursor, paused, cancelled = unpack(redis.call('HMGET', iteration, 'c', 'paused', 'cancelled'))
if not paused or cancelled then
  local now = redis.call('TIME')
  local stamp = string.format('%d%03d', now[1], math.floor(now[2] / 1000))
  local from = cursor and redis.call('HGET', progress, 'processed') or '0'
  redis.call('HSETNX', progress, 'started_at', stamp)
  redis.call('HSET', progress, 'began_at', stamp, 'from', from, 'worker', ARGV[3], 'number', ARGV[2])
  redis.call('HDEL', progress, 'ended_at', 'end')
  redis.call('EXPIRE', progress, ARGV[4])
end
return {'OK', state, before, cursor and redis.call('HGETALL', errors) or {}}
