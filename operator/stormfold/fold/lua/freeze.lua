#!lua flags=allow-oom
--[[
  Freeze a storm that is to be closed, so that its last status can be written.

  KEYS[1]  storm      hash  sf:2:{p<n>}:storm:<group hash>; see keys.py
  KEYS[2]  resources  hash  sf:2:{p<n>}:resources:<group hash>
  KEYS[3]  hll        HyperLogLog  sf:2:{p<n>}:hll:<group hash>
  KEYS[4]  instances  set  sf:2:{p<n>}:instances:<group hash>
  KEYS[5]  opening    string  sf:2:{p<n>}:opening:<group hash>
  KEYS[6]  alerts     hash  sf:2:{p<n>}:alerts:<group hash>
  KEYS[7]  evidence   hash  sf:2:{p<n>}:evidence:<group hash>
  KEYS[8]  names      hash  sf:2:{p<n>}:names:<group hash>
  ARGV[1]  epoch to close
  ARGV[2]  its incarnation
  ARGV[3]  folded at which it may be closed, or -1: at any
  ARGV[4]  reason, as the request's condition will say it
  ARGV[5]  now, Unix ms, the caller's clock
  ARGV[6]  1 if all its alerts are wanted

  Returns     {word, what claim.lua tells of a storm …}, the rest only for 'closing'
              'closing'  frozen; a repeated call gives the same
              'moved'    signals came meanwhile
              'gone'     Redis knows no such storm, it is closed, or it has another incarnation
              'newer-epoch'  a later storm of the group has opened
  Guarantees  from 'closing' on nothing is counted into this epoch; a repeated call changes nothing
]]
local storm_key = KEYS[1]
local epoch, incarnation, expected = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local reason, now = ARGV[4], ARGV[5]
-- @include storm
-- @include snapshot

local storm = read_storm(storm_key)
if not storm or storm.state == 'closed' then return { 'gone' } end
if number(storm.epoch) ~= epoch then return { 'newer-epoch' } end
if storm.incarnation ~= incarnation then return { 'gone' } end
if storm.state == 'open' then
  if expected >= 0 and folded_of(storm) ~= expected then return { 'moved' } end
  redis.call('HSET', storm_key, 'state', 'closing', 'close_reason', reason, 'closing_ms', now)
end
return { 'closing', snapshot_of(ARGV[6] == '1', unpack(KEYS)) }
