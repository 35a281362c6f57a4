-- A group whose request was closed while alerts fired opens its next storm by itself, once: if it is still at
-- the epoch that was closed, or something else has opened the next one, which has no request so far; and if
-- alerts of it still fire. Three arguments: that epoch, the highest severity that its request has seen, and
-- staleAfter in ms. What is counted is one change.
local function read_reopening(storm, first, keys)
  local epoch, severity, after = number(ARGV[first]), number(ARGV[first + 1]), number(ARGV[first + 2])
  local is_over = storm.state == 'closed' and number(storm.epoch) == epoch
  local is_next = storm.state == 'open' and number(storm.epoch) == epoch + 1
  if is_next then is_next = number(storm.written) == 0 and not storm.still_firing end
  if not is_over and not is_next then return nil, {} end
  local firing = 0
  for _, text in ipairs(redis.call('HVALS', is_next and keys.alerts or keys.before)) do
    local alert = alert_of(text)
    local is_of_before = alert.fate ~= 'd' and heard_of(storm, alert) + after > now
    if is_next then is_of_before = alert.fate == 'b' end
    if alert.fires and is_of_before then firing = firing + 1 end
  end
  if firing == 0 then
    -- Those that fire are among the ones without room, if any does: each counts anew when it is repeated.
    if is_over then redis.call('DEL', keys.beyond) end
    return nil, {}
  end
  put(storm, 'still_firing', 1)
  local tally = new_tally('')
  tally.changes, tally.firing, tally.severity = 1, firing, severity
  tally.first_ms = is_next and number(storm.first_ms) or now
  tally.last_ms = is_next and number(storm.last_ms) or now
  return tally
end
