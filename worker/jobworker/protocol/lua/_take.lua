-- Pop up to `count` payloads in the order of the queues and write each into the working set: one step, so that
-- nothing is lost in between. An entry is "<taken ms> <queue>\n<payload>", its field a number that the worker counts
-- up, so no JSON is parsed here and bytes that are no JSON can be held too.
-- Passed over are queues that are paused or at their limit. A limit is "<cluster>|<worker>|<blocking>", empty where
-- there is none: how many of the queue may be held by all workers, by each; and whether queues behind it in the order
-- have to wait while any of it is held. `inflight` counts what all workers hold of a queue, in the scripts that change
-- the working sets, so that no death leaves a slot taken.
-- Where somebody's key of another type stands instead of a queue, its error stands instead of payloads, and the queue is
-- passed over: it must not cost the others their jobs.
local function take(working, paused, limits, inflight, queue_keys, names, held, count, number)
  local taken = {}
  if count <= 0 or #names == 0 then return taken end
  local now = redis.call('TIME')
  local stamp = string.format('%d%03d', now[1], math.floor(now[2] / 1000))
  local stopped = redis.call('SMISMEMBER', paused, unpack(names))
  local rules = redis.call('HMGET', limits, unpack(names))
  for i, key in ipairs(queue_keys) do
    if count <= 0 then break end
    local name, room, rule, blocking = names[i], math.min(count, 1000), rules[i], false
    if rule then
      local all, each, blocks = string.match(rule, '^(%d*)|(%d*)|(%d*)$')
      if tonumber(all) then
        room = math.min(room, tonumber(all) - tonumber(redis.call('HGET', inflight, name) or '0'))
      end
      if tonumber(each) then room = math.min(room, tonumber(each) - tonumber(held[i])) end
      blocking = blocks == '1'
    end
    if room > 0 and stopped[i] == 0 then
      local popped = redis.pcall('RPOP', key, room)
      if popped and popped.err then
        if string.sub(popped.err, 1, 9) ~= 'WRONGTYPE' then redis.call('RPOP', key, room) end  -- raises it
        taken[#taken + 1] = i - 1
        taken[#taken + 1] = popped.err
      elseif popped then
        local fields = {}
        for _, payload in ipairs(popped) do
          fields[#fields + 1] = number
          fields[#fields + 1] = stamp .. ' ' .. name .. '\n' .. payload
          number = number + 1
        end
        redis.call('HSET', working, unpack(fields))
        redis.call('HINCRBY', inflight, name, #popped)
        count = count - #popped
        taken[#taken + 1] = i - 1
        taken[#taken + 1] = popped
      end
    end
    if blocking and tonumber(redis.call('HGET', inflight, name) or '0') > 0 then break end
  end
  return taken
end

-- RACE a take that was cut off may be carried out late, into a connection that nobody reads any more. Who gave it up says
-- first that takes count from a number on; each process of a pod has its own, from a multiple of 2^36 on.
local function void_field(number) return string.format('void %d', math.floor(number / 68719476736)) end

-- The queues that a call names, two arguments each from `at` on: name, and how many of it the worker holds already.
local function queues_of(from_key, at)
  local keys, names, held = {}, {}, {}
  for i = from_key, #KEYS do
    keys[#keys + 1] = KEYS[i]
    names[#names + 1] = ARGV[at]
    held[#held + 1] = ARGV[at + 1]
    at = at + 2
  end
  return keys, names, held
end
