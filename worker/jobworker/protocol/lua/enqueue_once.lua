-- #include _once
-- `enqueue`, with a guard as its last key and a token as its last argument; -1 if it was carried out before.
local guard, token = table.remove(KEYS), table.remove(ARGV)
return once(guard, token, function()
-- #include enqueue
end)
