#!lua flags=allow-oom
--[[
  Freeze a storm that is to be closed, so that its last status can be written.

  KEYS[1]  storm    string  sf:{p<n>}:storm:<group_hash>; see keys.py
  KEYS[2]  hll      HyperLogLog  sf:{p<n>}:hll:<group_hash>
  KEYS[3]  opening  string  sf:{p<n>}:opening:<group_hash>
  ARGV[1]  epoch to close
  ARGV[2]  its incarnation
  ARGV[3]  folded at which it may be closed, or -1: at any
  ARGV[4]  reason, as the request's condition will say it
  ARGV[5]  now, Unix ms, the caller's clock

  Returns     {word, resources by HyperLogLog, opening, {field, value, …}, {listed resource, signals, …}}, the rest
              only for 'closing'
              'closing'  frozen; a repeated call gives the same
              'moved'    signals came meanwhile
              'gone'     Redis knows no such storm, it is closed, or it has another incarnation
              'newer-epoch'  a later storm of the group has opened
  Guarantees  from 'closing' on nothing is counted into this epoch; a repeated call changes nothing
]]
local storm_key, hll, opening = KEYS[1], KEYS[2], KEYS[3]
local epoch, incarnation, expected, reason, now = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

local function flat(map)
  local pairs_of = {}
  for key, value in pairs(map) do
    pairs_of[#pairs_of + 1] = key
    pairs_of[#pairs_of + 1] = value
  end
  return pairs_of
end

local packed = redis.call('GET', storm_key)
local storm = packed and cmsgpack.unpack(packed)
if not storm or storm.s == 'c' then return { 'gone' } end
if storm.e ~= epoch then return { 'newer-epoch' } end
if (storm.g or '') ~= incarnation then return { 'gone' } end
if storm.s == 'o' then
  if expected >= 0 and (storm.t or 0) + (storm.n or 0) ~= expected then return { 'moved' } end
  storm.s, storm.cr, storm.ct = 'x', reason, now
  redis.call('SET', storm_key, cmsgpack.pack(storm))
end
local listed = storm.rs
storm.rs = nil
return { 'closing', redis.call('PFCOUNT', hll), redis.call('GET', opening) or '', flat(storm), flat(listed) }
