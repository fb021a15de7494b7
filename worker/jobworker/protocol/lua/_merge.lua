-- Join a chunk of 512 numbers to a set of numbers: a HASH, chunk → bits, the lowest first, without zero bytes at the
-- end. Returns how many numbers are new, so that what is told twice is counted once.
local function merge(set, chunk, bits)
  local old = redis.call('HGET', set, chunk) or ''
  local joined, new = {}, 0
  for i = 1, math.max(#old, #bits) do
    local before = old:byte(i) or 0
    local after = bit.bor(before, bits:byte(i) or 0)
    local added = after - before
    while added > 0 do
      new = new + added % 2
      added = math.floor(added / 2)
    end
    joined[i] = string.char(after)
  end
  if new > 0 then redis.call('HSET', set, chunk, table.concat(joined)) end
  return new
end
