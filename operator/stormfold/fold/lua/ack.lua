#!lua flags=allow-oom
--[[
  Note how far a storm's request is written, and when to look at the storm next.

  KEYS[1]  storm       hash  sf:2:{p<n>}:storm:<group hash>; see keys.py
  KEYS[2]  due         zset  sf:2:{p<n>}:due; member group hash, score Unix ms
  KEYS[3]  ids         zset  sf:2:{p<n>}:ids:<group hash>
  KEYS[4]  checkpoint  hash  sf:2:{p<n>}:checkpoint; field signals, value the resourceVersion up to which fold
                       refuses; field trimmed, value the one up to which ids are forgotten
  KEYS[5]  evidence    hash  sf:2:{p<n>}:evidence:<group hash>
  KEYS[6]  seen        hash  sf:2:{p<n>}:seen:<half hour>; see keys.py
  ARGV[1]  group hash
  ARGV[2]  epoch that was looked at
  ARGV[3]  its incarnation
  ARGV[4]  folded that was looked at
  ARGV[5]  1 if the request now holds that, 0 if nothing was written
  ARGV[6]  1 if this write made the request say that the storm has settled, else 0
  ARGV[7]  next deadline, Unix ms
  ARGV[8]  now, Unix ms, the caller's clock
  ARGV[9]  resourceVersion up to which ids may be forgotten, as the leader says; 0: none
  ARGV[10] resourceVersion of the newest Signal that was looked at
  ARGV[11] how many ids above that are kept of what the request holds
  ARGV[12] what other storms are to know of how common values are, or ''
  ARGV[13] who claimed

  Returns     'acked'    nothing came meanwhile: due at ARGV[7]
              'more'     signals came meanwhile: due again at once, or a second after the last write
              'gone'     Redis knows no such storm any more, it is closed, or it has another incarnation
              'newer-epoch'  a later storm of the group has opened
  Guarantees  never moves what is written backwards; what is forgotten is refused by fold from then on
]]
local storm_key, due_key, ids_key, checkpoint_key, evidence_key, seen_key = unpack(KEYS)
local group_hash, epoch, incarnation, folded = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local written, settled, deadline, now = ARGV[5] == '1', ARGV[6] == '1', tonumber(ARGV[7]), tonumber(ARGV[8])
local trim, newest, kept = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
-- @include storm
-- @include seen

-- Forgets the ids that nothing can bring again: the checkpoint refuses them, and the leader knows of an
-- edited Signal that it was counted. The checkpoint alone is no sign of that. Where still too many are known
-- of what the request holds, the floor of the storm rises, and the oldest go.
local function forget_ids(storm)
  local versions = redis.call('HMGET', checkpoint_key, 'signals', 'trimmed')
  local refused, trimmed = number(versions[1]), number(versions[2])
  if trim > trimmed then
    trimmed = trim
    redis.call('HSET', checkpoint_key, 'signals', math.max(refused, trim), 'trimmed', trim)
  end
  if trimmed > 0 then redis.call('ZREMRANGEBYSCORE', ids_key, -trimmed, trimmed) end
  if not written then return end
  -- A Signal that was discarded has its version, not minus its version: it raises no floor.
  local oldest = -number(redis.call('ZRANGE', ids_key, kept, kept, 'WITHSCORES')[2])
  local floor = math.min(oldest, newest)
  if floor > number(storm.signals_floor) then
    put(storm, 'signals_floor', floor)
    redis.call('ZREMRANGEBYSCORE', ids_key, -floor, 0)
  end
end

local storm = read_whole(storm_key)
if not storm or storm.state == 'closed' then return 'gone' end
if number(storm.epoch) ~= epoch then return 'newer-epoch' end
if storm.incarnation ~= incarnation then return 'gone' end

forget_ids(storm)
if storm.claimed_by == ARGV[13] then redis.call('HDEL', storm_key, 'claimed_by', 'claimed_ms') end
if written then
  put(storm, 'written', math.max(number(storm.written), folded))
  put(storm, 'written_ms', now)
end
local more = folded_of(storm) > folded
if written then -- the request holds it
  if more then forget_causes(evidence_key, folded) else redis.call('DEL', evidence_key) end
  if ARGV[12] ~= '' then tell_others(seen_key, group_hash .. ':' .. ARGV[2], ARGV[12]) end
end
if settled then
  if more then
    add(storm, 'reopened', 1) -- before we could note that it had settled
  else
    put(storm, 'settled', 1)
  end
end
write_storm(storm)
local next_look = deadline
if more then
  local has_request = number(storm.written) > 0
  next_look = has_request and math.max(now, number(storm.written_ms) + WRITE_INTERVAL_MS) or now
end
redis.call('ZADD', due_key, next_look, group_hash)
return more and 'more' or 'acked'
