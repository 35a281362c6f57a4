#!lua flags=allow-oom
--[[
  Freeze a storm that is to be closed, so that its last status can be written.

  KEYS[1]  storm    hash  sf:{p<n>}:storm:<gid>
  KEYS[2]  hll      HyperLogLog  sf:{p<n>}:hll:<gid>
  KEYS[3]  opening  string  sf:{p<n>}:opening:<gid>
  ARGV[1]  epoch to close
  ARGV[2]  its incarnation
  ARGV[3]  folded at which it may be closed, or -1: at any
  ARGV[4]  reason, as the request's condition will say it
  ARGV[5]  now, Unix ms, the caller's clock

  Returns     {word, resources by HyperLogLog, opening, field, value, …}, the rest only for 'closing'
              'closing'  frozen; a repeated call gives the same
              'moved'    signals came meanwhile
              'gone'     Redis knows no such storm, it is closed, or it has another incarnation
              'newer-epoch'  a later storm of the group has opened
  Guarantees  from 'closing' on nothing is counted into this epoch; a repeated call changes nothing
]]
local storm, hll, opening = KEYS[1], KEYS[2], KEYS[3]
local epoch, incarnation, expected, reason, now = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local current, state, lives, total, others = unpack(redis.call('HMGET', storm, 'e', 's', 'g', 't', 'n'))
if not current or state == 'c' then return { 'gone' } end
if current ~= epoch then return { 'newer-epoch' } end
if (lives or '') ~= incarnation then return { 'gone' } end
if state == 'o' then
  local folded = tonumber(total or '0') + tonumber(others or '0')
  if expected >= 0 and folded ~= expected then return { 'moved' } end
  redis.call('HSET', storm, 's', 'x', 'cr', reason, 'ct', now)
end
return { 'closing', redis.call('PFCOUNT', hll), redis.call('GET', opening) or '', unpack(redis.call('HGETALL', storm)) }
