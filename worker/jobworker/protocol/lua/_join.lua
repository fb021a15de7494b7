-- #include _wake
-- Put the job that joins slices onto its queue. Its payload lies beside the slices, all but the time.
local function push_join(slices, queues, queue, tokens, name)
  local unit, join = unpack(redis.call('HMGET', slices, 'unit', 'join'))
  local now = redis.call('TIME')
  local at = string.format('%d.%06d', now[1], now[2])
  if unit == 'milliseconds' then at = string.format('%d%03d', now[1], math.floor(now[2] / 1000)) end
  redis.call('SADD', queues, name)
  redis.call('LPUSH', queue, join .. at .. '}')
  wake(tokens, 1)
end
