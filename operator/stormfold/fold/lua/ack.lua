#!lua flags=allow-oom
--[[
  Note how far a storm's request is written, and when to look at the storm next.

  KEYS[1]  storm       string  sf:{p<n>}:storm:<group_hash>; see keys.py
  KEYS[2]  due         zset  sf:{p<n>}:due; member group_hash, score Unix ms
  KEYS[3]  ids         zset  sf:{p<n>}:ids:<group_hash>
  KEYS[4]  checkpoint  hash  sf:{p<n>}:checkpoint; field segment, value the resourceVersion up to which fold refuses;
                       field t<segment>, value the one up to which ids are forgotten
  ARGV[1]  group_hash
  ARGV[2]  epoch that was looked at
  ARGV[3]  its incarnation
  ARGV[4]  folded that was looked at
  ARGV[5]  1 if the request now holds that, 0 if nothing was written
  ARGV[6]  1 if this write made the request say that the storm has settled, else 0
  ARGV[7]  next deadline, Unix ms
  ARGV[8]  now, Unix ms, the caller's clock
  ARGV[9]  segment, and ARGV[10] resourceVersion up to which its ids may be forgotten, and so on: of those that
           the caller takes in

  Returns     'acked'    nothing came meanwhile: due at ARGV[7]
              'more'     signals came meanwhile: due again at once, or a second after the last write
              'gone'     Redis knows no such storm any more, it is closed, or it has another incarnation
              'newer-epoch'  a later storm of the group has opened
  Guarantees  never moves what is written backwards; what is trimmed is refused by fold from then on
]]
local storm_key, due, ids, checkpoint = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local group_hash, epoch, incarnation, folded = ARGV[1], tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
local written, settled, deadline, now = ARGV[5] == '1', ARGV[6] == '1', tonumber(ARGV[7]), tonumber(ARGV[8])
local WRITE_INTERVAL_MS = 1000

-- Forgets the ids that nothing can bring again, whichever of the storm's segments they are of: the checkpoint refuses
-- them, and whoever takes them in knows of an edited one that it was counted. The checkpoint alone is no sign of that.
local function trim(storm)
  local least
  for field in pairs(storm) do
    local segment = string.match(field, '^p(%d+)$')
    if segment then
      least = math.min(least or math.huge, tonumber(redis.call('HGET', checkpoint, 't' .. segment) or '0'))
    end
  end
  if least and least > 0 then
    local trimmed = string.format('%.0f', least)
    redis.call('ZREMRANGEBYSCORE', ids, '-' .. trimmed, trimmed)
  end
end

local packed = redis.call('GET', storm_key)
local storm = packed and cmsgpack.unpack(packed)
if not storm or storm.s == 'c' then return 'gone' end
if storm.e ~= epoch then return 'newer-epoch' end
if (storm.g or '') ~= incarnation then return 'gone' end

local function raise(field, version)
  if tonumber(version) > tonumber(redis.call('HGET', checkpoint, field) or '0') then
    redis.call('HSET', checkpoint, field, version)
  end
end

for i = 9, #ARGV, 2 do
  raise(ARGV[i], ARGV[i + 1])
  raise('t' .. ARGV[i], ARGV[i + 1])
end
trim(storm)
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
