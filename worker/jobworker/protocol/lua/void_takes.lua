-- #include _take
-- From here on no take below a number is carried out: what such a one took is held by now, and can be looked up.
-- KEYS record   ARGV epoch, number
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return {'STALE'} end
redis.call('HSET', KEYS[1], void_field(tonumber(ARGV[2])), ARGV[2])
return {'OK'}
