#!lua flags=allow-oom
--[[
  Drop a storm but for its epoch: its request is closed, or its signals are discarded.

  KEYS[1]  storm      string  sf:{p<n>}:storm:<group_hash>; see keys.py
  KEYS[2]  due        zset  sf:{p<n>}:due; member group_hash, score Unix ms
  KEYS[3]  ids        zset  sf:{p<n>}:ids:<group_hash>
  KEYS[4]  hll        HyperLogLog  sf:{p<n>}:hll:<group_hash>
  KEYS[5]  instances  set   sf:{p<n>}:instances:<group_hash>
  KEYS[6]  opening    string  sf:{p<n>}:opening:<group_hash>
  KEYS[7]  counted    hash  sf:{p<n>}:counted:<group_hash>
  KEYS[8]  beyond     HyperLogLog  sf:{p<n>}:beyond:<group_hash>
  ARGV[1]  group_hash
  ARGV[2]  epoch to close
  ARGV[3]  its incarnation
  ARGV[4]  'closed': the request of a frozen storm is closed;
           'discarded': an open group makes no request;
           'forgotten': the same, but its alerts count when they come again
  ARGV[5]  folded at which it may be discarded
  ARGV[6]  how long to remember the epoch, seconds
  ARGV[7]  how long to know its alerts and Events, and its Signals that are not trimmed yet, seconds
  ARGV[8]  folded that its request held when it was looked at; more than that: it may not be discarded
  ARGV[9]  what is told of its signals if it is discarded

  Returns     'closed'
              'moved'    signals came meanwhile, or the storm to be closed is not frozen, or it has another
                         incarnation: Redis had lost it
              'gone'     Redis knows no such storm, or it is gone already
              'lost'     it was to be discarded and another server had counted it, so that this one may lack
                         its last words: it is gone, and none of its signals may be told anything
              'newer-epoch'  a later storm of the group has opened
  Guarantees  what was counted stays counted: a closed storm leaves the newest resourceVersion of each stream
              as the floor below which fold counts nothing, and its alerts and Events are known for a while;
              what was discarded is known as such by then, whoever folds it again; a repeated call changes
              nothing; O(fields), and O(signals known one by one) where some are discarded
]]
local storm, due, ids, hll = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local instances, opening, counted, beyond = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local group_hash, epoch, incarnation, why, expected = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4], tonumber(ARGV[5])
local keep_seconds, counted_seconds, known_written, told = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local SERVER_CHARACTERS = 4
local server = string.sub(string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'), 1, SERVER_CHARACTERS)
local packed = redis.call('GET', storm)
local map = packed and cmsgpack.unpack(packed)

-- Marks the starts of alerts that are in this storm, and in no earlier one, or forgets them.
local function discard_alerts(forgotten)
  if (map.na or 0) == 0 then return end
  local alerts, opened = redis.call('HGETALL', counted), string.format('%.0f', map.o)
  for i = 1, #alerts, 2 do
    local head, starts = string.match(alerts[i + 1], '^(%a%d+)(,.+)$')
    if head and string.sub(head, 2) == opened then
      local known = ''
      for start, fate in string.gmatch(starts, ',(-?%d+)([cd]?)') do
        if fate == '' and not forgotten then fate = 'd' end
        if fate ~= '' then known = known .. ',' .. start .. fate end
      end
      if known == '' then redis.call('HDEL', counted, alerts[i]) else redis.call('HSET', counted, alerts[i], head .. known) end
    end
  end
end

-- Marks the Signals of this storm: those above its floor.
local function discard_signals()
  local signals = redis.call('ZRANGE', ids, '(' .. string.format('%.0f', map.fl or 0), '+inf', 'BYSCORE', 'WITHSCORES')
  for i = 1, #signals, 2 do redis.call('ZADD', ids, '-' .. signals[i + 1], signals[i]) end
end

if not map or map.s == 'c' then
  redis.call('ZREM', due, group_hash)
  return 'gone'
end
if map.e ~= epoch then return 'newer-epoch' end
if (map.g or '') ~= incarnation then return 'moved' end
local discarded = why ~= 'closed'
local kept = { e = epoch, s = 'c', la = map.la, ls = map.ls, ds = map.ds, dr = map.dr }
local lost = false
if discarded then
  if (map.t or 0) + (map.n or 0) ~= expected or map.s ~= 'o' then return 'moved' end
  if (map.w or 0) > known_written then return 'moved' end
  kept.e = epoch - 1
  lost = string.sub(map.g or '', -SERVER_CHARACTERS) ~= server
  if lost then
    redis.call('DEL', ids, counted)
    kept.la, kept.ds, kept.dr = map.ls, nil, nil
  else
    discard_alerts(why == 'forgotten')
    discard_signals()
    kept.ds, kept.dr = server, told
  end
elseif map.s ~= 'x' then
  return 'moved'
end
-- How far a stream was counted is the floor of the next storm; what is discarded leaves the floor that it had.
kept.fl, kept.fle = map.p, map.pe
if discarded then kept.fl, kept.fle = map.fl, map.fle end
redis.call('DEL', hll, instances, opening, beyond)
redis.call('SET', storm, cmsgpack.pack(kept), 'EX', keep_seconds)
redis.call('EXPIRE', counted, counted_seconds)
-- The floor does not tell a Signal whose metadata were edited after it was counted, nor one that was discarded.
redis.call('EXPIRE', ids, counted_seconds)
redis.call('ZREM', due, group_hash)
return lost and 'lost' or 'closed'
