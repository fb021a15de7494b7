-- What a list of workers is doing, seen at one moment.
-- KEYS for each worker: record, alive, working, quiet, checkpoints
-- Returns the server's time in ms, then for each worker: epoch, alive (1 or 0), held, quiet reason, beat, running,
-- concurrency, age in ms of its oldest checkpoint (-1 where a held job has none).
-- An idle worker mostly does no more than prolong `alive`: what is left of its life tells when it did.
local now = redis.call('TIME')
local ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000)
local answer = {string.format('%.0f', ms)}
for at = 1, #KEYS, 5 do
  local record, alive, working, quiet, checkpoints = unpack(KEYS, at, at + 4)
  local fields = redis.call('HMGET', record, 'epoch', 'beat', 'running', 'concurrency', 'ttl_ms')
  local left, beat = redis.call('PTTL', alive), fields[2]
  if beat and fields[5] and left > 0 then
    beat = string.format('%.3f', math.max(tonumber(beat), (ms - tonumber(fields[5]) + left) / 1000))
  end
  local numbers = redis.call('HKEYS', working)
  local age = 0
  for _, number in ipairs(numbers) do
    local stamp = redis.call('HGET', checkpoints, number)
    if not stamp then
      age = -1
      break
    end
    age = math.max(age, ms - tonumber(stamp))
  end
  answer[#answer + 1] = {fields[1], left == -2 and 0 or 1, #numbers, redis.call('GET', quiet), beat, fields[3], fields[4],
    string.format('%.0f', age)}
end
return answer
