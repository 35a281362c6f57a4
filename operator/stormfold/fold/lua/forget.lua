#!lua flags=allow-oom
--[[
  Forget a storm but for its epoch: its request is closed, or its signals are discarded.

  KEYS[1]  storm      hash  sf:{p<n>}:storm:<gid>
  KEYS[2]  due        zset  sf:{p<n>}:due; member gid, score Unix ms
  KEYS[3]  ids        zset  sf:{p<n>}:ids:<gid>
  KEYS[4]  hll        HyperLogLog  sf:{p<n>}:hll:<gid>
  KEYS[5]  instances  set   sf:{p<n>}:instances:<gid>
  KEYS[6]  opening    string  sf:{p<n>}:opening:<gid>
  ARGV[1]  gid
  ARGV[2]  epoch to forget
  ARGV[3]  'closed': the request of a frozen storm is closed;
           'discarded': an open group makes no request
  ARGV[4]  total at which it may be discarded
  ARGV[5]  how long to remember the epoch, seconds

  Returns     'forgotten'
              'moved'    signals came meanwhile, or the storm to be closed is not frozen: Redis had lost it
              'gone'     Redis knows no such storm, or it is forgotten already
              'newer-epoch'  a later storm of the group has opened
  Guarantees  what was counted stays counted: a closed storm leaves its newest resourceVersion as the
              floor below which fold counts nothing; a repeated call changes nothing
]]
local storm, due, ids, hll, instances, opening = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local gid, epoch, why, expected, keep_seconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local current, state, total, floor, through = unpack(redis.call('HMGET', storm, 'e', 's', 't', 'fl', 'p'))
if not current or state == 'c' then
  redis.call('ZREM', due, gid)
  return 'gone'
end
if current ~= epoch then return 'newer-epoch' end
if why == 'discarded' then
  if total ~= expected or state ~= 'o' then return 'moved' end
  epoch = string.format('%.0f', tonumber(epoch) - 1)
else
  if state ~= 'x' then return 'moved' end
  floor = through
end
redis.call('DEL', storm, ids, hll, instances, opening)
redis.call('HSET', storm, 'e', epoch, 's', 'c', 'fl', floor or '0')
redis.call('EXPIRE', storm, keep_seconds)
redis.call('ZREM', due, gid)
return 'forgotten'
