#!lua flags=no-writes
--[[
  Say from where on a storm counts each stream.

  KEYS[1]  storm  string  sf:{p<n>}:storm:<group_hash>; see keys.py

  Returns     {stream, oldest resourceVersion counted, …}
  Guarantees  changes nothing; O(fields)
]]
local storm_key = KEYS[1]
local packed = redis.call('GET', storm_key)
local since = {}
for field, value in pairs(packed and cmsgpack.unpack(packed) or {}) do
  if field == 'i' or field == 'ie' then
    since[#since + 1] = field == 'i' and 'signals' or 'events'
    since[#since + 1] = value
  end
end
return since
