-- Who works on a storm that has no request yet: the first one who has claimed it, until its claim ends by the
-- server's clock. One that says more than a claim may last is none.

local function claim_is_valid(until_ms, may_last)
  local seconds, microseconds = unpack(redis.call('TIME'))
  local server_ms = seconds * 1000 + math.floor(microseconds / 1000)
  local left = (tonumber(until_ms) or 0) - server_ms
  return left > 0 and left <= may_last, server_ms
end
