-- Pop up to `count` payloads in the order of the queues and write each into the working set: one step, so that
-- nothing is lost in between. Paused queues are passed over. An entry is "<taken ms> <queue>\n<payload>", its
-- field a number that the worker counts up, so no JSON is parsed here and bytes that are no JSON can be held too.
local function take(working, paused, queue_keys, queue_names, count, number)
  local taken = {}
  local now = redis.call('TIME')
  local stamp = string.format('%d%03d', now[1], math.floor(now[2] / 1000))
  for i, key in ipairs(queue_keys) do
    if count <= 0 then break end
    local name = queue_names[i]
    if redis.call('SISMEMBER', paused, name) == 0 then
      local popped = redis.call('RPOP', key, math.min(count, 1000))
      if popped then
        local fields = {}
        for _, payload in ipairs(popped) do
          fields[#fields + 1] = number
          fields[#fields + 1] = stamp .. ' ' .. name .. '\n' .. payload
          number = number + 1
        end
        redis.call('HSET', working, unpack(fields))
        count = count - #popped
        taken[#taken + 1] = i - 1
        taken[#taken + 1] = popped
      end
    end
  end
  return taken
end
