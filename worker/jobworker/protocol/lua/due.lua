#!lua flags=allow-oom
-- Be the one worker that looks after due jobs, if nobody else is, and look: what is due now, and when is the next?
-- One worker at a time, so that a cluster of hundreds costs Redis no more than one; who dies is followed when its lease
-- runs out. RACE a holder that was stopped and comes back beside its successor: two look, and every job still moves
-- once, since `promote` removes and pushes in one step.
-- Allowed in a Redis that is full: due jobs and those of the dead must run for it to become emptier.
-- KEYS lease, retry, schedule, deaths, workers, ends of pauses   ARGV worker, lease in ms, entries at most, bytes at most
-- Returns LEAD, Redis' time, is a death waiting (1 or 0), workers, due retries, due scheduled jobs, score of the next
--         retry and of the next scheduled job ('' = none; the past where entries are due), ms when the next pause of a
--         queue ends ('' = none);
--      or FOLLOW, ms until the lease ends, is a death waiting, number of workers
local lease, retry, schedule, deaths, workers, pauses = unpack(KEYS)
local holder = redis.call('SET', lease, ARGV[1], 'NX', 'GET', 'PX', ARGV[2])
local clock = redis.call('TIME')
local now = string.format('%d.%06d', clock[1], clock[2])
local waiting = #redis.call('ZRANGEBYSCORE', deaths, '-inf', now, 'LIMIT', 0, 1)
if holder and holder ~= ARGV[1] then
  return {'FOLLOW', redis.call('PTTL', lease), waiting, redis.call('SCARD', workers)}
end
if holder then redis.call('PEXPIRE', lease, ARGV[2]) end

local most, most_bytes = tonumber(ARGV[3]), tonumber(ARGV[4])

local function look(set)
  local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
  if #first == 0 then return {}, '' end
  local found, bytes = {}, 0
  if tonumber(first[2]) <= tonumber(now) then
    -- In pages: entries may be of megabytes, and what is too much for one call stays where it is.
    repeat
      local page = redis.call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', #found, 50)
      for _, member in ipairs(page) do
        if #found == most or bytes > most_bytes then return found, first[2] end
        found[#found + 1] = member
        bytes = bytes + #member
      end
    until #page < 50
  end
  return found, first[2]
end

local retries, next_retry = look(retry)
local scheduled, next_scheduled = look(schedule)
return {'LEAD', now, waiting, redis.call('SMEMBERS', workers), retries, scheduled, next_retry, next_scheduled,
  redis.call('ZRANGE', pauses, 0, 0, 'WITHSCORES')[2] or ''}
