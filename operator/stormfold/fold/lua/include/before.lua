-- Nobody looks any more at a group whose request says that nothing fires. An alert that fires and was not in
-- it, for want of room or since Redis had lost it, is taken for stale, or unknown: its next word opens the
-- next storm.
local function let_go(before_key, beyond_key)
  redis.call('DEL', beyond_key)
  local known = redis.call('HGETALL', before_key)
  for i = 1, #known, 2 do
    if string.match(known[i + 1], '^f.*[^d]$') then
      redis.call('HSET', before_key, known[i], 's' .. string.sub(known[i + 1], 2))
    end
  end
end

-- The alerts of a storm that is over, and those known before it as far as there is room, are what the next
-- one knows before it.
local function join_before(storm, alerts_key, before_key, beyond_key)
  local firing = number(storm.alerts_firing) + number(storm.estimated_firing_alerts)
  if firing == 0 then let_go(before_key, beyond_key) end
  if redis.call('EXISTS', alerts_key) == 0 then return end
  local known, room = redis.call('HGETALL', before_key), KNOWN_ALERTS - redis.call('HLEN', alerts_key)
  for i = 1, #known, 2 do
    if room > 0 then room = room - redis.call('HSETNX', alerts_key, known[i], known[i + 1]) end
  end
  redis.call('RENAME', alerts_key, before_key)
end
