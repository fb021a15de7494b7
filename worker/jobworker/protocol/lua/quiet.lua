-- From here on no job starts on the worker. Returns how many it holds.
-- KEYS quiet, working   ARGV reason, signal channel
redis.call('SET', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], 'quiet')
return redis.call('HLEN', KEYS[2])
