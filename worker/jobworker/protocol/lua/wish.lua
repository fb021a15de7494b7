-- Write what somebody wants of an iterating job where its holder, and every later one, finds it. Who runs the job hears
-- that this key has changed; every checkpoint answers with it; and each run reads it before its first item.
-- A job is over when its progress says so: nothing is written then.
-- RACE the job is parked since the caller looked: told so, it looks again.
-- KEYS iteration, parked, progress   ARGV jid, cancel, pause or resume, seconds that the state lives
-- Returns PARKED, OVER, CANCELLED (somebody was faster, and that is final), SAME (nothing to change) or WRITTEN.
local iteration, parked, progress = unpack(KEYS)
if redis.call('HEXISTS', parked, ARGV[1]) == 1 then return 'PARKED' end
if redis.call('HEXISTS', progress, 'end') == 1 then return 'OVER' end
if redis.call('HEXISTS', iteration, 'cancelled') == 1 then return 'CANCELLED' end
local written
if ARGV[2] == 'cancel' then
  redis.call('HDEL', iteration, 'paused')
  -- Sidekiq's field and its form.
  written = redis.call('HSET', iteration, 'cancelled', redis.call('TIME')[1])
elseif ARGV[2] == 'pause' then
  written = redis.call('HSETNX', iteration, 'paused', redis.call('TIME')[1])
else
  return redis.call('HDEL', iteration, 'paused') == 1 and 'WRITTEN' or 'SAME'
end
redis.call('EXPIRE', iteration, ARGV[3])
return written == 1 and 'WRITTEN' or 'SAME'
