-- A worker lets go of jobs of a queue: the slots that they took of the queue's limit are free.
local function let_go(inflight, queue, count)
  if count > 0 and redis.call('HINCRBY', inflight, queue, -count) <= 0 then redis.call('HDEL', inflight, queue) end
end
