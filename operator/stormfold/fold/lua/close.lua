#!lua flags=allow-oom
--[[
  Forget a storm but for its epoch: its request is closed, or its signals are discarded.

  KEYS[1]  storm      hash  sf:2:{p<n>}:storm:<group hash>; see keys.py
  KEYS[2]  due        zset  sf:2:{p<n>}:due; member group hash, score Unix ms
  KEYS[3]  resources  hash  sf:2:{p<n>}:resources:<group hash>
  KEYS[4]  ids        zset  sf:2:{p<n>}:ids:<group hash>
  KEYS[5]  hll        HyperLogLog  sf:2:{p<n>}:hll:<group hash>
  KEYS[6]  instances  set   sf:2:{p<n>}:instances:<group hash>
  KEYS[7]  opening    string  sf:2:{p<n>}:opening:<group hash>
  KEYS[8]  events     hash  sf:2:{p<n>}:events:<group hash>
  KEYS[9]  alerts     hash  sf:2:{p<n>}:alerts:<group hash>
  KEYS[10]  before     hash  sf:2:{p<n>}:before:<group hash>
  KEYS[11]  beyond     bitmap  sf:2:{p<n>}:beyond:<group hash>
  KEYS[12]  evidence   hash  sf:2:{p<n>}:evidence:<group hash>
  KEYS[13]  names      hash  sf:2:{p<n>}:names:<group hash>
  ARGV[1]  group hash
  ARGV[2]  epoch to forget
  ARGV[3]  its incarnation
  ARGV[4]  'closed': the request of a frozen storm is closed;
           'discarded': an open group makes no request;
           'forgotten': the same, but its alerts count when they come again
  ARGV[5]  folded at which it may be discarded
  ARGV[6]  folded that its request held when it was looked at; more than that: it may not be discarded
  ARGV[7]  what is told of its signals if it is discarded
  ARGV[8]  who has claimed it
  ARGV[9]  for how long a claim lasts, ms

  Returns     'closed'   it is forgotten
              'moved'    signals came meanwhile, or the storm to be closed is not frozen, or it has another
                         incarnation: Redis had lost it
              'claimed'  it was to be discarded, and another one, who has claimed it before, may be making its
                         request: it may be tried again when that claim has ended
              'gone'     Redis knows no such storm, or it is forgotten already
              'lost'     it was to be discarded and another server had counted it, so that this one may lack
                         its last words: it is forgotten, and none of its signals may be told anything
              'newer-epoch'  a later storm of the group has opened
  Guarantees  what was counted stays counted: a closed storm leaves the newest resourceVersion as the floor
              below which fold counts nothing, and its alerts and Events are known for a while; what was
              discarded is known as such by then, whoever folds it again; a repeated call changes nothing;
              O(fields), and O(signals known one by one) where some are discarded
]]
local storm_key, due, resources, ids, hll = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local instances, opening, events, alerts_key = KEYS[6], KEYS[7], KEYS[8], KEYS[9]
local before, beyond, evidence, names = KEYS[10], KEYS[11], KEYS[12], KEYS[13]
local group_hash, epoch, incarnation, why = ARGV[1], tonumber(ARGV[2]), ARGV[3], ARGV[4]
local discarded = why ~= 'closed'
local expected, known_written, told = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7]
-- @include server
-- @include storm
-- @include alert
-- @include before
-- @include claims

-- Whether the request before says that an alert fires, which has begun anew here: it fires on there.
local function fires_on(storm, known, alert)
  if not known or not known.fires or known.fate == 'd' then return false end
  return heard_of(storm, known) + storm.stale_after_ms > alert.said
end

-- Marks the alerts that are in this storm, and in no earlier one, unless they are forgotten. What an earlier
-- one has goes on by the last word that was told here.
local function discard_alerts(storm, forget)
  local alerts, room = redis.call('HGETALL', alerts_key), KNOWN_ALERTS - redis.call('HLEN', before)
  for i = 1, #alerts, 2 do
    local alert, text = alert_of(alerts[i + 1]), redis.call('HGET', before, alerts[i])
    local known = text and alert_of(text)
    local is_earlier = alert.fate == 'b' or alert.fate == 'c' or (known and known.start >= alert.start)
    if known and known.fate == 'd' and forget then
      -- It stays as it was, and counts when it comes again.
    elseif is_earlier or fires_on(storm, known, alert) then
      alert.fate = known and known.fate or ''
      if forget and known then alert.start = known.start end
      redis.call('HSET', before, alerts[i], text_of(alert))
    elseif not forget and (known or room > 0) then
      alert.fate = 'd'
      redis.call('HSET', before, alerts[i], text_of(alert))
      if not known then room = room - 1 end
    end
  end
end

-- Marks the Signals of this storm: those above its floor.
local function discard_signals(storm)
  local below = '(-' .. (storm.signals_floor or 0)
  local signals = redis.call('ZRANGE', ids, '-inf', below, 'BYSCORE', 'WITHSCORES')
  for i = 1, #signals, 2 do redis.call('ZADD', ids, -signals[i + 1], signals[i]) end
end

-- What the next storm must know of this one.
local function kept_of(storm)
  local kept = { 'state', 'closed' }
  local function keep(field, value)
    if value then kept[#kept + 1], kept[#kept + 2] = field, value end
  end
  keep('epoch', discarded and epoch - 1 or epoch)
  -- How far a stream was counted is the floor of the next storm; what is discarded leaves the floor that it
  -- had.
  local until_last = discarded and '_floor' or '_last'
  keep('signals_floor', storm['signals' .. until_last])
  keep('events_floor', storm['events' .. until_last])
  local fires = not discarded and number(storm.alerts_firing) > 0
  keep('severity_before', discarded and storm.severity_before or fires and storm.severity)
  keep('heard_ms', storm.heard_ms)
  keep('stale_after_ms', storm.stale_after_ms)
  keep('alerts_unknown', storm.alerts_unknown)
  keep('discarded_by', storm.discarded_by)
  keep('discarded_as', storm.discarded_as)
  return kept
end

-- Whether another one, who has claimed it before, may be making its request.
local function is_others(storm)
  return storm.claimed_by and storm.claimed_by ~= ARGV[8] and claim_is_valid(storm.claimed_ms, ARGV[9] + 0)
end

local storm = read_whole(storm_key)
if not storm or storm.state == 'closed' then
  redis.call('ZREM', due, group_hash)
  return 'gone'
end
if number(storm.epoch) ~= epoch then return 'newer-epoch' end
if storm.incarnation ~= incarnation then return 'moved' end
local lost = false
if discarded then
  if folded_of(storm) ~= expected or storm.state ~= 'open' then return 'moved' end
  if number(storm.written) > known_written then return 'moved' end
  if is_others(storm) then return 'claimed' end
  lost = not is_ours(storm)
  if lost then
    redis.call('DEL', ids, events)
  else
    discard_alerts(storm, why == 'forgotten')
    discard_signals(storm)
    storm.discarded_by, storm.discarded_as = server, told
  end
elseif storm.state ~= 'closing' then
  return 'moved'
end
if not discarded then join_before(storm, alerts_key, before, beyond) end
redis.call('DEL', storm_key, resources, hll, instances, opening, alerts_key, evidence, names)
redis.call('HSET', storm_key, unpack(kept_of(storm)))
redis.call('EXPIRE', storm_key, REMEMBER_SECONDS)
-- The floor does not tell a Signal whose metadata were edited after it was counted, nor one that was
-- discarded.
for _, key in ipairs({ events, before, beyond, ids }) do redis.call('EXPIRE', key, KNOW_SECONDS) end
redis.call('ZREM', due, group_hash)
return lost and 'lost' or 'closed'
