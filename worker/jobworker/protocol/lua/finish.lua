-- #include _take
-- End jobs and, in the same step, take the next ones. An entry that is not held any more is passed over and its
-- number returned: a rescue gave the job to somebody else, whose end counts.
-- KEYS record, working, checkpoints, quiet, paused, processed, processed of the day, failed, failed of the day,
--      retry, dead, queue…
-- ARGV epoch, seconds that a day's counter lives, oldest dead score, dead set's bound, number of jobs,
--      then for each: number, outcome (ok, failed, retry, dead), score, payload;
--      then count to take, first number, queue name…
local record, working, checkpoints, quiet, paused, processed, processed_day, failed, failed_day, retry, dead =
  unpack(KEYS, 1, 11)
if redis.call('HGET', record, 'epoch') ~= ARGV[1] then return {'STALE'} end
local jobs = tonumber(ARGV[5])
local at, ended, failures, lost, buried = 6, 0, 0, {}, false
for _ = 1, jobs do
  local number, outcome, score, payload = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  at = at + 4
  if redis.call('HDEL', working, number) == 1 then
    redis.call('HDEL', checkpoints, number)
    ended = ended + 1
    if outcome ~= 'ok' then failures = failures + 1 end
    if outcome == 'retry' then
      redis.call('ZADD', retry, score, payload)
    elseif outcome == 'dead' then
      redis.call('ZADD', dead, score, payload)
      buried = true
    end
  else
    lost[#lost + 1] = number
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
local reason = redis.call('GET', quiet)
if reason then return {'QUIET', lost, reason} end
local count = tonumber(ARGV[at])
local taken = {}
if count > 0 then
  taken = take(working, paused, {unpack(KEYS, 12)}, {unpack(ARGV, at + 2)}, count, tonumber(ARGV[at + 1]))
end
return {'OK', lost, taken}
