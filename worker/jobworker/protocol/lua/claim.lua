#!lua flags=allow-oom
-- Have a death's handlers called by this worker alone, for so long as it was promised.
-- KEYS deaths   ARGV score that was read, notice, lease in seconds
-- Returns 1, or 0 if somebody else was faster.
local score = redis.call('ZSCORE', KEYS[1], ARGV[2])
if not score or tonumber(score) ~= tonumber(ARGV[1]) then return 0 end
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], 'XX', string.format('%d.%06d', now[1] + ARGV[3], now[2]), ARGV[2])
return 1
