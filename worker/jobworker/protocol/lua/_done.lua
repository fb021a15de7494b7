-- #include _merge
-- Note which ids of a job are done. Of each kind of id there are two sets, numbers and texts, and in the progress how
-- many there are. Every kind that is named lives on, also with nothing new in it.
-- Keys from `key` on: numbers, texts, for each kind; arguments from `at` on, for each kind:
--      its name, number of chunks, chunk, bits…, number of texts, text…
local function note_done(progress, seconds, key, at)
  while key < #KEYS do
    local numbers, texts, kind, new = KEYS[key], KEYS[key + 1], ARGV[at], 0
    local chunks = tonumber(ARGV[at + 1])
    at = at + 2
    for i = at, at + 2 * chunks - 1, 2 do new = new + merge(numbers, ARGV[i], ARGV[i + 1]) end
    at = at + 2 * chunks
    local count = tonumber(ARGV[at])
    for i = at + 1, at + count, 1000 do
      new = new + redis.call('SADD', texts, unpack(ARGV, i, math.min(i + 999, at + count)))
    end
    at = at + 1 + count
    redis.call('HINCRBY', progress, 'done:' .. kind, new)
    redis.call('EXPIRE', numbers, seconds)
    redis.call('EXPIRE', texts, seconds)
    key = key + 2
  end
  return at
end
