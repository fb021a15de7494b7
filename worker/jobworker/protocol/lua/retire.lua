-- Quiet the worker only if it holds nothing, else change nothing: an idle pod is chosen for removal without a race,
-- for a take runs either before this (and the answer is no) or after it (and finds quiet).
-- KEYS quiet, working   ARGV reason, signal channel
local held = redis.call('HLEN', KEYS[2])
if held > 0 then return {'HELD', held} end
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], 'quiet')
return {'OK', 0}
