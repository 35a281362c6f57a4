-- What the request holds of what may explain a storm, and what other storms are told of it.

local function forget_causes(key, folded)
  local held = {}
  for _, field in ipairs(redis.call('HKEYS', key)) do
    local at = string.match(field, '^causes_(%d+)$')
    if at and number(at) <= folded then held[#held + 1] = field end
  end
  if #held > 0 then redis.call('HDEL', key, unpack(held)) end
end

local function tell_others(key, storm, text)
  if redis.call('HLEN', key) >= SEEN_STORMS and not redis.call('HGET', key, storm) then return end
  redis.call('HSET', key, storm, text)
  redis.call('EXPIRE', key, SEEN_SECONDS)
end
