-- #include _wake
-- Let workers take jobs of a queue again, and wake some for what has piled up. Returns 1 if it was paused.
-- RACE a pause that was renewed since its end was read: asked to lift only what is over, the script looks again.
-- KEYS paused, paused_until, queue, wake   ARGV queue name, only a pause whose time is over (1 or 0)
if ARGV[2] == '1' then
  local over = redis.call('ZSCORE', KEYS[2], ARGV[1])
  local now = redis.call('TIME')
  if not over or tonumber(over) > tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) then return 0 end
end
local lifted = redis.call('SREM', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[2], ARGV[1])
if lifted == 1 then wake(KEYS[4], redis.call('LLEN', KEYS[3])) end
return lifted
