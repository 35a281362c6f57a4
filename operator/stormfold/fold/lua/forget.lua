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
  ARGV[8]  folded that its request held when it was looked at; more than that: it may not be discarded
  ARGV[9]  what is told of its signals if it is discarded

  Returns     'forgotten'
              'moved'    signals came meanwhile, or the storm to be closed is not frozen, or it has another
                         incarnation: Redis had lost it
              'gone'     Redis knows no such storm, or it is forgotten already
              'lost'     it was to be discarded and another server had counted it, so that this one may lack
                         its last words: it is forgotten, and none of its signals may be told anything
              'newer-epoch'  a later storm of the group has opened
  Guarantees  what was counted stays counted: a closed storm leaves its newest resourceVersion as the
              floor below which fold counts nothing, and its alerts and Events are known for a while;
              what was discarded is known as such by then, whoever folds it again; a repeated call changes
              nothing; O(alerts known one by one) where some are discarded
]]
local storm, due, ids, hll = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local instances, opening, counted, beyond = KEYS[5], KEYS[6], KEYS[7], KEYS[8]
local gid, epoch, incarnation, why, expected = ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
local keep_seconds, counted_seconds, known_written, told = ARGV[6], ARGV[7], tonumber(ARGV[8]), ARGV[9]
local SERVER_CHARACTERS = 4
local server = string.sub(string.match(redis.call('INFO', 'server'), 'run_id:(%x+)'), 1, SERVER_CHARACTERS)
local current, state, lives, total, others, floor, through, event_floor, event_through, lost_ms, latest_start =
  unpack(redis.call('HMGET', storm, 'e', 's', 'g', 't', 'n', 'fl', 'p', 'fle', 'pe', 'la', 'ls'))
local alerts, opened, written, discarded_by, discarded_as = unpack(redis.call('HMGET', storm, 'na', 'o', 'w', 'ds', 'dr'))

-- Marks the starts of alerts that are in this storm, and in no earlier one.
local function discard_alerts()
  if tonumber(alerts or '0') == 0 then return end
  local flat = redis.call('HGETALL', counted)
  for i = 1, #flat, 2 do
    local head, starts = string.match(flat[i + 1], '^(%a%d+)(,.+)$')
    if head and string.sub(head, 2) == opened then
      local marked = string.gsub(starts .. ',', '(%d),', '%1d,')
      redis.call('HSET', counted, flat[i], head .. string.sub(marked, 1, -2))
    end
  end
end

local function discard_signals()
  local signals = redis.call('ZRANGEBYSCORE', ids, '(' .. (floor or '0'), '+inf', 'WITHSCORES')
  for i = 1, #signals, 2 do redis.call('ZADD', ids, '-' .. signals[i + 1], signals[i]) end
end

if not current or state == 'c' then
  redis.call('ZREM', due, gid)
  return 'gone'
end
if current ~= epoch then return 'newer-epoch' end
if (lives or '') ~= incarnation then return 'moved' end
if why == 'discarded' then
  if tonumber(total or '0') + tonumber(others or '0') ~= expected or state ~= 'o' then return 'moved' end
  if tonumber(written or '0') > known_written then return 'moved' end
  epoch = string.format('%.0f', tonumber(epoch) - 1)
else
  if state ~= 'x' then return 'moved' end
  floor, event_floor = through, event_through
end
local lost = why == 'discarded' and string.sub(lives or '', -SERVER_CHARACTERS) ~= server
if lost then
  redis.call('DEL', ids, counted)
  lost_ms, discarded_by, discarded_as = latest_start, nil, nil
elseif why == 'discarded' then
  discard_alerts()
  discard_signals()
  discarded_by, discarded_as = server, told
end
redis.call('DEL', storm, hll, instances, opening, beyond)
redis.call('HSET', storm, 'e', epoch, 's', 'c', 'fl', floor or '0')
local kept = { fle = event_floor, la = lost_ms, ls = latest_start, ds = discarded_by, dr = discarded_as }
for field, value in pairs(kept) do
  if value then redis.call('HSET', storm, field, value) end
end
redis.call('EXPIRE', storm, keep_seconds)
redis.call('EXPIRE', counted, counted_seconds)
-- The floor does not tell a Signal whose metadata were edited after it was counted, nor one that was discarded.
redis.call('EXPIRE', ids, counted_seconds)
redis.call('ZREM', due, gid)
return lost and 'lost' or 'forgotten'
