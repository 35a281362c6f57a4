#!lua flags=allow-oom
--[[
  Note how far a storm's request is written, and when to look at the storm next.

  KEYS[1]  storm       hash  sf:{p<n>}:storm:<gid>
  KEYS[2]  due         zset  sf:{p<n>}:due; member gid, score Unix ms
  KEYS[3]  ids         zset  sf:{p<n>}:ids:<gid>
  KEYS[4]  checkpoint  hash  sf:{p<n>}:checkpoint; field segment, value resourceVersion
  ARGV[1]  gid
  ARGV[2]  epoch that was looked at
  ARGV[3]  its incarnation
  ARGV[4]  folded that was looked at
  ARGV[5]  1 if the request now holds that, 0 if nothing was written
  ARGV[6]  1 if this write made the request say that the storm has settled, else 0
  ARGV[7]  next deadline, Unix ms
  ARGV[8]  now, Unix ms, the caller's clock
  ARGV[9]  segment, and ARGV[10] resourceVersion up to which its ids may be forgotten, and so on: of those that
           the caller takes in

  Returns     'settled'  nothing came meanwhile: due at ARGV[7]
              'more'     signals came meanwhile: due again at once, or a second after the last write
              'gone'     Redis knows no such storm any more, it is closed, or it has another incarnation
              'newer-epoch'  a later storm of the group has opened
  Guarantees  never moves what is written backwards; what is trimmed is refused by fold from then on
]]
local storm, due, ids, checkpoint = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local gid, epoch, incarnation, folded = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local written, settled, deadline, now = ARGV[5] == '1', ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8])
local WRITE_INTERVAL_MS = 1000

-- Forgets the ids that are refused by the checkpoint in any case, whichever of the storm's segments they are of.
local function trim()
  local least
  local fields = redis.call('HKEYS', storm)
  for _, field in ipairs(fields) do
    local segment = string.match(field, '^p(%d+)$')
    if segment then
      least = math.min(least or math.huge, tonumber(redis.call('HGET', checkpoint, segment) or '0'))
    end
  end
  if least and least > 0 then
    local trimmed = string.format('%.0f', least)
    redis.call('ZREMRANGEBYSCORE', ids, '-' .. trimmed, trimmed)
  end
end

local current, state, lives, total, others, before, last_write =
  unpack(redis.call('HMGET', storm, 'e', 's', 'g', 't', 'n', 'w', 'lw'))
if not current or state == 'c' then return 'gone' end
if current ~= epoch then return 'newer-epoch' end
if (lives or '') ~= incarnation then return 'gone' end

for i = 9, #ARGV, 2 do
  local trimmed = tonumber(redis.call('HGET', checkpoint, ARGV[i]) or '0')
  if tonumber(ARGV[i + 1]) > trimmed then redis.call('HSET', checkpoint, ARGV[i], ARGV[i + 1]) end
end
trim()
if written then
  redis.call('HSET', storm, 'w', string.format('%.0f', math.max(tonumber(before or '0'), folded)), 'lw', ARGV[8])
  last_write, before = ARGV[8], folded
end
local more = tonumber(total or '0') + tonumber(others or '0') > folded
if settled == '1' then
  if more then
    redis.call('HINCRBY', storm, 're', 1) -- reopened before we could note that it had settled
  else
    redis.call('HSET', storm, 'q', '1')
  end
end
if more then
  local has_request = tonumber(before or '0') > 0
  local next_look = has_request and math.max(now, tonumber(last_write or '0') + WRITE_INTERVAL_MS) or now
  redis.call('ZADD', due, string.format('%.0f', next_look), gid)
  return 'more'
end
redis.call('ZADD', due, string.format('%.0f', deadline), gid)
return 'settled'
