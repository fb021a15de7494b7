-- Asked immediately before a pod is deleted: is it still quiet, in the life that was looked at, and holding nothing?
-- RACE a failover in between: Redis may have forgotten quiet or the whole record. Then quiet is set again and the
-- wait begins anew; a record of another epoch means that somebody else has begun to live there.
-- `running` is the worker's own count from its last beat: what a failover made Redis forget, the process knows.
-- KEYS quiet, working, checkpoints, record
-- ARGV reason, signal channel, expected epoch ('' = never registered), oldest checkpoint allowed in ms ('' = none is)
local quiet, working, checkpoints, record = unpack(KEYS)
local held = redis.call('HLEN', working)
if redis.call('EXISTS', quiet) == 0 then
  redis.call('SET', quiet, ARGV[1])
  redis.call('PUBLISH', ARGV[2], 'quiet')
  return {'REQUIETED', held}
end
if (redis.call('HGET', record, 'epoch') or '') ~= ARGV[3] then return {'MOVED', held} end
if held == 0 then
  local running = tonumber(redis.call('HGET', record, 'running') or '0')
  if running > 0 then return {'RUNNING', running} end
  return {'DRAINED', 0}
end
if ARGV[4] ~= '' then
  local now = redis.call('TIME')
  local oldest = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - tonumber(ARGV[4])
  for _, number in ipairs(redis.call('HKEYS', working)) do
    local at = redis.call('HGET', checkpoints, number)
    if not at or tonumber(at) < oldest then return {'HELD', held} end
  end
  return {'CHECKPOINTED', held}
end
return {'HELD', held}
