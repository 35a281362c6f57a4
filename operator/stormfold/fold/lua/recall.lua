#!lua
--[[
  Say what a group knows of some alerts.

  KEYS[1]  storm    string  sf:{p<n>}:storm:<group_hash>; see keys.py
  KEYS[2]  counted  hash  sf:{p<n>}:counted:<group_hash>; see keys.py
  ARGV[1]  how long the alerts of a closed storm are known after the last repeat of one, seconds
  ARGV[2]  id of an alert, and so on

  Returns     {epoch or 0, state or '', incarnation or '', latest start in ms of what may have been counted and is not
              known or 0, of each alert what is known or ''}
  Guarantees  counts nothing; a closed storm whose alerts are asked about is known for so long again
]]
local storm_key, counted_key, know_seconds = KEYS[1], KEYS[2], ARGV[1]
local packed = redis.call('GET', storm_key)
local storm = packed and cmsgpack.unpack(packed) or {}
local known = redis.call('HMGET', counted_key, unpack(ARGV, 2))
local any = false
for place, text in ipairs(known) do
  any = any or text
  known[place] = text or ''
end
if any and storm.s == 'c' then redis.call('EXPIRE', counted_key, know_seconds) end
return { storm.e or 0, storm.s or '', storm.g or '', storm.la or 0, unpack(known) }
