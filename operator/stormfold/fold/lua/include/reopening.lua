-- A group whose request was closed while alerts fired opens its next storm by itself, once: if it is still at
-- the epoch that was closed, and alerts of it still fire. Three arguments: that epoch, the highest severity
-- that its request has seen, and staleAfter in ms. What is counted is one change.
local function read_reopening(storm, first, keys)
  local epoch, severity, after = number(ARGV[first]), number(ARGV[first + 1]), number(ARGV[first + 2])
  if storm.state ~= 'closed' or number(storm.epoch) ~= epoch then return nil, {} end
  local firing = 0
  for _, text in ipairs(redis.call('HVALS', keys.before)) do
    local alert = alert_of(text)
    local heard = math.max(alert.said, number(storm.heard_ms))
    if alert.fires and alert.fate ~= 'd' and heard + after > now then firing = firing + 1 end
  end
  if firing == 0 then return nil, {} end
  put(storm, 'still_firing', 1)
  local tally = new_tally('')
  tally.changes, tally.firing, tally.severity = 1, firing, severity
  tally.first_ms, tally.last_ms = now, now
  return tally, { 1 }
end
