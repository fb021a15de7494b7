-- Let the worker take jobs again. Returns how many it holds.
-- KEYS quiet, working   ARGV signal channel
redis.call('DEL', KEYS[1])
redis.call('PUBLISH', ARGV[1], 'unquiet')
return redis.call('HLEN', KEYS[2])
