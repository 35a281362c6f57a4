#!lua flags=allow-oom
--[[
  Note how far a storm's request is written, and when to look at the storm next.

  KEYS[1]  storm       string  sf:{p<n>}:storm:<group_hash>; see keys.py
  KEYS[2]  due         zset  sf:{p<n>}:due; member group_hash, score Unix ms
  KEYS[3]  ids         zset  sf:{p<n>}:ids:<group_hash>
  KEYS[4]  checkpoint  hash  sf:{p<n>}:checkpoint; field signals, value the resourceVersion up to which fold
                       refuses; field trimmed, value the one up to which ids are forgotten
  ARGV[1]  group_hash
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

  Returns     'acked'    nothing came meanwhile: due at ARGV[7]
              'more'     signals came meanwhile: due again at once, or a second after the last write
              'gone'     Redis knows no such storm any more, it is closed, or it has another incarnation
              'newer-epoch'  a later storm of the group has opened
  Guarantees  never moves what is written backwards; what is forgotten is refused by fold from then on
]]
local storm_key, due, ids, checkpoint = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group_hash, epoch, incarnation, folded = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local written, settled, deadline, now = ARGV[5] == '1', ARGV[6] == '1', tonumber(ARGV[7]), tonumber(ARGV[8])
local trim, newest, kept = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local WRITE_INTERVAL_MS = 1000

-- Forgets the ids that nothing can bring again: the checkpoint refuses them, and whoever takes them in knows of an
-- edited one that it was counted. The checkpoint alone is no sign of that. Where still too many are known of what the
-- request holds, the floor of the storm rises, and the oldest go.
local function forget_ids(storm)
  local refused, trimmed = unpack(redis.call('HMGET', checkpoint, 'signals', 'trimmed'))
  refused, trimmed = tonumber(refused or '0'), tonumber(trimmed or '0')
  if trim > trimmed then
    trimmed = trim
    redis.call('HSET', checkpoint, 'signals', math.max(refused, trim), 'trimmed', trim)
  end
  if trimmed > 0 then redis.call('ZREMRANGEBYSCORE', ids, -trimmed, trimmed) end
  if not written then return end
  local oldest = redis.call('ZRANGE', ids, -kept - 1, -kept - 1, 'WITHSCORES')[2]
  local floor = math.min(tonumber(oldest or '0'), newest)
  if floor > (storm.fl or 0) then
    storm.fl = floor
    redis.call('ZREMRANGEBYSCORE', ids, 0, floor)
  end
end

local packed = redis.call('GET', storm_key)
local storm = packed and cmsgpack.unpack(packed)
if not storm or storm.s == 'c' then return 'gone' end
if storm.e ~= epoch then return 'newer-epoch' end
if (storm.g or '') ~= incarnation then return 'gone' end

forget_ids(storm)
if written then storm.w, storm.lw = math.max(storm.w or 0, folded), now end
local more = (storm.t or 0) + (storm.n or 0) > folded
if settled then
  if more then
    storm.re = (storm.re or 0) + 1 -- reopened before we could note that it had settled
  else
    storm.q = 1
  end
end
if written or settled then redis.call('SET', storm_key, cmsgpack.pack(storm)) end
local next_look = deadline
if more then
  local has_request = (storm.w or 0) > 0
  next_look = has_request and math.max(now, (storm.lw or 0) + WRITE_INTERVAL_MS) or now
end
redis.call('ZADD', due, string.format('%.0f', next_look), group_hash)
return more and 'more' or 'acked'
