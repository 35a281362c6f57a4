#!lua flags=allow-oom
--[[
  Take storms that are due and hide them from other replicas for a while.

  KEYS[1]  due      zset  sf:{p<n>}:due; member group_hash, score Unix ms
  KEYS[2]  storm    string  sf:{p<n>}:storm:<group_hash>; see keys.py
  KEYS[3]  hll      HyperLogLog  sf:{p<n>}:hll:<group_hash>
  KEYS[4]  opening  string  sf:{p<n>}:opening:<group_hash>
           KEYS[2] … KEYS[4] come once more for each further storm
  ARGV[1]  now, Unix ms, the caller's clock
  ARGV[2]  hidden until, Unix ms
  ARGV[3]  group_hash, and so on, one for each storm

  Returns     per storm {resources by HyperLogLog, opening, {field, value, …}, {listed resource, signals, …}}, or
              {} if another replica has it, it is not due, or it is gone
  Guarantees  what is not settled by ARGV[2] is due again, so the caller may die; O(fields) per storm
]]
local due_key = KEYS[1]
local now, hidden_until = tonumber(ARGV[1]), ARGV[2]

local function flat(map)
  local pairs_of = {}
  for key, value in pairs(map) do
    pairs_of[#pairs_of + 1] = key
    pairs_of[#pairs_of + 1] = value
  end
  return pairs_of
end

local claimed = {}
for i = 3, #ARGV do
  local group_hash = ARGV[i]
  local k = 2 + (i - 3) * 3
  local storm_key, hll_key, opening_key = KEYS[k], KEYS[k + 1], KEYS[k + 2]
  local score = redis.call('ZSCORE', due_key, group_hash)
  local snapshot = {}
  if score and tonumber(score) <= now then
    local packed = redis.call('GET', storm_key)
    local storm = packed and cmsgpack.unpack(packed)
    if not storm or storm.s == 'c' then
      redis.call('ZREM', due_key, group_hash)
    else
      redis.call('ZADD', due_key, hidden_until, group_hash)
      local listed = storm.rs
      storm.rs = nil
      snapshot = { redis.call('PFCOUNT', hll_key), redis.call('GET', opening_key) or '', flat(storm), flat(listed) }
    end
  end
  claimed[i - 2] = snapshot
end
return claimed
