-- #include _take
-- #include _let_go
-- End jobs and, in the same step, take the next ones. An entry that is not held any more is passed over and counted:
-- a rescue gave the job to somebody else, whose end counts.
-- What went well comes as ranges of numbers, one HDEL for all of them: a job that does nothing costs a tenth of a
-- command, and the worker does not write a thousand numbers to say "1 to 1000".
-- KEYS record, working, checkpoints, quiet, paused, limits, inflight, processed, processed of the day, failed,
--      failed of the day, retry, dead, deaths, queue…
-- ARGV epoch, seconds that a day's counter lives, oldest dead score, dead set's bound, nudge channel,
--      number of queues with jobs that went well, for each: name, number of ranges, first, last, first, last…;
--      number of other jobs, for each: number, queue, outcome (ok, failed, retry, dead), score, payload; with a "!"
--      behind it, failed and dead leave a notice for death handlers, and a retry is due soon: whoever sleeps until the
--      next one is nudged;
--      then count to take, first number, then for each queue: name, how many of it this worker holds afterwards
local record, working, checkpoints, quiet, paused, limits, inflight, processed, processed_day, failed, failed_day,
  retry, dead, deaths = unpack(KEYS, 1, 14)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
local at, ended, failures, lost, buried, nudge = 6, 0, 0, 0, false, false
local checkpointed = redis.call('EXISTS', checkpoints) == 1

local function drop(numbers)
  if #numbers == 0 then return 0 end
  if checkpointed then redis.call('HDEL', checkpoints, unpack(numbers)) end
  local removed = redis.call('HDEL', working, unpack(numbers))
  lost = lost + #numbers - removed
  return removed
end

local groups = tonumber(ARGV[at])
at = at + 1
for _ = 1, groups do
  local queue, ranges, removed, numbers = ARGV[at], tonumber(ARGV[at + 1]), 0, {}
  at = at + 2
  for _ = 1, ranges do
    for number = tonumber(ARGV[at]), tonumber(ARGV[at + 1]) do
      numbers[#numbers + 1] = string.format('%d', number)
      if #numbers == 1000 then
        removed = removed + drop(numbers)
        numbers = {}
      end
    end
    at = at + 2
  end
  removed = removed + drop(numbers)
  let_go(inflight, queue, removed)
  ended = ended + removed
end

local others = tonumber(ARGV[at])
at = at + 1
for _ = 1, others do
  local number, queue, outcome, score, payload = unpack(ARGV, at, at + 4)
  at = at + 5
  if drop({number}) == 1 then
    let_go(inflight, queue, 1)
    ended = ended + 1
    if outcome ~= 'ok' then failures = failures + 1 end
    if outcome:sub(-1) == '!' then
      outcome = outcome:sub(1, -2)
      nudge = true
      if outcome ~= 'retry' then redis.call('ZADD', deaths, redis.call('TIME')[1], payload) end
    end
    if outcome == 'retry' then
      redis.call('ZADD', retry, score, payload)
    elseif outcome == 'dead' then
      redis.call('ZADD', dead, score, payload)
      buried = true
    end
  end
end

if ended > 0 then
  redis.call('INCRBY', processed, ended)
  redis.call('INCRBY', processed_day, ended)
  redis.call('EXPIRE', processed_day, ARGV[2])
end
if failures > 0 then
  redis.call('INCRBY', failed, failures)
  redis.call('INCRBY', failed_day, failures)
  redis.call('EXPIRE', failed_day, ARGV[2])
end
if buried then
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', '(' .. ARGV[3])
  redis.call('ZREMRANGEBYRANK', dead, 0, -tonumber(ARGV[4]) - 1)
end
if nudge then redis.call('PUBLISH', ARGV[5], 'ended') end
local reason = redis.call('GET', quiet)
if reason then return {'QUIET', lost, reason} end
local count, number = tonumber(ARGV[at]), tonumber(ARGV[at + 1])
if count > 0 then
  local void = redis.call('HGET', record, void_field(number))
  if void and number < tonumber(void) then count = 0 end
end
local keys, names, held = queues_of(15, at + 2)
return {'OK', lost, take(working, paused, limits, inflight, keys, names, held, count, number)}
