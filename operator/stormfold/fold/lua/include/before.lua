-- The alerts of a storm that is over, and those known before it as far as there is room, are what the next
-- one knows before it.
local function join_before(alerts_key, before_key)
  if redis.call('EXISTS', alerts_key) == 0 then return end
  local known, room = redis.call('HGETALL', before_key), KNOWN_ALERTS - redis.call('HLEN', alerts_key)
  for i = 1, #known, 2 do
    if room > 0 then room = room - redis.call('HSETNX', alerts_key, known[i], known[i + 1]) end
  end
  redis.call('RENAME', alerts_key, before_key)
end
