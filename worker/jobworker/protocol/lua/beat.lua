#!lua flags=allow-oom
-- Say that this life goes on, and hear whether it shall be quiet. A quiet worker that holds nothing and runs nothing
-- is announced as drained; the worker beats at once when it gets there, so nobody has to wait for a period.
-- Allowed in a Redis that is full: jobs that end make room again, and a worker that cannot beat would be taken for dead.
-- Some beats also show the process to Sidekiq's readers and bring the signals that they sent to it. These steps may
-- fail alone: a foreign key named `processes` must not cost the worker its life.
-- KEYS record, alive, quiet, working, and where the process is shown:
--      processes, its record, work, work by its old name, signals
-- ARGV epoch, ttl_ms, worker, events channel, running, number of fields, field, value…, and where it is shown:
--      identity, seconds that it lives, whether jobs were shown before (1 or 0),
--      number of its record's fields, field, value…, then thread, job…
local record, alive, quiet, working, processes, process, work, workers, signals = unpack(KEYS)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
local now = redis.call('TIME')
local beat = now[1] .. '.' .. string.format('%06d', now[2])
local at = 7 + 2 * tonumber(ARGV[6])
redis.call('HSET', record, 'beat', beat, 'ttl_ms', ARGV[2], 'running', ARGV[5], unpack(ARGV, 7, at - 1))
redis.call('SET', alive, ARGV[1], 'PX', ARGV[2])
local reason = redis.call('GET', quiet)
if reason and ARGV[5] == '0' and redis.call('HLEN', working) == 0 then
  redis.call('PUBLISH', ARGV[4], 'drained ' .. ARGV[3])
end
if not processes then return {'OK', reason, {}} end
local identity, seconds, had_work, fields = unpack(ARGV, at, at + 3)
local first = at + 4
local rest = first + 2 * tonumber(fields)
redis.pcall('SADD', processes, identity)
redis.pcall('HSET', process, 'beat', beat, unpack(ARGV, first, rest - 1))
redis.pcall('EXPIRE', process, seconds)
if had_work == '1' then redis.pcall('UNLINK', work, workers) end
if rest <= #ARGV then
  redis.pcall('HSET', work, unpack(ARGV, rest))
  redis.pcall('EXPIRE', work, seconds)
  redis.pcall('COPY', work, workers, 'REPLACE')
end
local sent = redis.pcall('RPOP', signals, 10)
if not sent or sent.err then sent = {} end
return {'OK', reason, sent}
