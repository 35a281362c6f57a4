#!lua flags=allow-oom
--[[
  Forget a storm but for its epoch: its request is closed, or its signals are discarded.

  KEYS[1]  storm      hash  sf:{p<n>}:storm:<gid>
  KEYS[2]  due        zset  sf:{p<n>}:due; member gid, score Unix ms
  KEYS[3]  ids        zset  sf:{p<n>}:ids:<gid>
  KEYS[4]  hll        HyperLogLog  sf:{p<n>}:hll:<gid>
  KEYS[5]  instances  set   sf:{p<n>}:instances:<gid>
  KEYS[6]  opening    string  sf:{p<n>}:opening:<gid>
  KEYS[7]  counted    hash  sf:{p<n>}:counted:<gid>
  KEYS[8]  beyond     HyperLogLog  sf:{p<n>}:beyond:<gid>
  ARGV[1]  gid
  ARGV[2]  epoch to forget
  ARGV[3]  its incarnation
  ARGV[4]  'closed': the request of a frozen storm is closed;
           'discarded': an open group makes no request
  ARGV[5]  folded at which it may be discarded
  ARGV[6]  how long to remember the epoch, seconds
  ARGV[7]  how long to know its alerts and Events, and its Signals that are not trimmed yet, seconds

  Returns     'forgotten'
              'moved'    signals came meanwhile, or the storm to be closed is not frozen, or it has another
                         incarnation: Redis had lost it
              'gone'     Redis knows no such storm, or it is forgotten already
              'newer-epoch'  a later storm of the group has opened
  Guarantees  what was counted stays counted: a closed storm leaves the newest resourceVersion of each segment
              as the floor below which fold counts nothing, and its alerts and Events are known for a while;
              a repeated call changes nothing
]]
local storm, due, ids, hll = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local instances, opening, counted, beyond = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local gid, epoch, incarnation, why, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local keep_seconds, counted_seconds = ARGV[6], ARGV[7]
local current, state, lives, total, others, lost_ms, latest_start =
  unpack(redis.call('HMGET', storm, 'e', 's', 'g', 't', 'n', 'la', 'ls'))
if not current or state == 'c' then
  redis.call('ZREM', due, gid)
  return 'gone'
end
if current ~= epoch then return 'newer-epoch' end
if (lives or '') ~= incarnation then return 'moved' end
if why == 'discarded' then
  if tonumber(total or '0') + tonumber(others or '0') ~= expected or state ~= 'o' then return 'moved' end
  epoch = string.format('%.0f', tonumber(epoch) - 1)
else
  if state ~= 'x' then return 'moved' end
end
-- How far each segment was counted is the floor of the next storm; what is discarded leaves the floor that it had.
local left = why == 'discarded' and '^fl(e?%d+)$' or '^p(e?%d+)$'
local remembered = { 'e', epoch, 's', 'c' }
for field, value in pairs({ la = lost_ms, ls = latest_start }) do
  if value then
    remembered[#remembered + 1] = field
    remembered[#remembered + 1] = value
  end
end
local fields = redis.call('HGETALL', storm)
for i = 1, #fields, 2 do
  local stream = string.match(fields[i], left)
  if stream then
    remembered[#remembered + 1] = 'fl' .. stream
    remembered[#remembered + 1] = fields[i + 1]
  end
end
if why == 'discarded' then
  redis.call('DEL', ids)
else
  -- The floor does not tell a Signal whose metadata were edited after it was counted.
  redis.call('EXPIRE', ids, counted_seconds)
end
redis.call('DEL', storm, hll, instances, opening, beyond)
redis.call('HSET', storm, unpack(remembered))
redis.call('EXPIRE', storm, keep_seconds)
redis.call('EXPIRE', counted, counted_seconds)
redis.call('ZREM', due, gid)
return 'forgotten'
