-- Put jobs of one or more times into the schedule, and nudge the worker that sleeps until the next is due if one of
-- them comes sooner than all others.
-- KEYS schedule   ARGV channel, then for each job: time in epoch seconds, payload
for at = 2, #ARGV, 2 do redis.call('ZADD', KEYS[1], ARGV[at], ARGV[at + 1]) end
local first = redis.call('ZRANGE', KEYS[1], 0, 0)[1]
for at = 3, #ARGV, 2 do
  if ARGV[at] == first then
    redis.call('PUBLISH', ARGV[1], 'sooner')
    break
  end
end
return (#ARGV - 1) / 2
