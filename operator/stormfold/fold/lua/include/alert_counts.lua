-- What is counted of the alerts of a piece that say something new.

-- What to count, and the ordinals: of a repeat, it is what the storm has counted by then.
local function tally_alerts(storm, reports, prefix)
  local tally, ordinals = new_tally(prefix), {}
  local folded = storm.state == 'open' and folded_of(storm) or 0
  tally.alerts = {}
  for i, report in ipairs(reports) do
    local found = report.found
    if found then
      tally.alerts[#tally.alerts + 1] = found
      tally_one(tally, found.weight, report.fires, report.severity, report.said, report.said, report.resource)
      tally.counted[i] = found.weight
      tally.fires = tally.fires or report.fires
      if found.weight == 0 then tally.changes = tally.changes + 1 end
      if found.opens then tally.firing = tally.firing + 1 end
      -- One that was first heard of at its end says Firing now: without such a word no request is made.
      local fires_again = found.weight == 0 and found.resolved == -1
      if fires_again and number(storm.firing_signals) + tally.firing == 0 then tally.firing = 1 end
    end
    ordinals[i] = report.fate
    if report.fate == nil then ordinals[i] = folded + tally.signals + tally.changes end
  end
  return #tally.alerts > 0 and tally or nil, ordinals
end

local function count_alerts(storm, tally)
  local firing, resolved, stale, begun, begun_beyond, ended_beyond = 0, 0, 0, 0, 0, 0
  for _, found in ipairs(tally.alerts) do
    if not found.beyond then
      firing, resolved, begun = firing + found.firing, resolved + found.resolved, begun + found.weight
      stale = stale + found.stale
    elseif found.report.fires then
      begun_beyond = begun_beyond + 1
    else
      ended_beyond = ended_beyond + 1
    end
  end
  add(storm, 'alerts', tally.signals)
  add(storm, 'alerts_firing', firing)
  add(storm, 'alerts_resolved', math.max(resolved, -number(storm.alerts_resolved)))
  add(storm, 'alerts_stale', math.max(stale, -number(storm.alerts_stale)))
  if firing > 0 and not storm.stale_look_ms then put(storm, 'stale_look_ms', now + storm.stale_after_ms) end
  if tally.left_out then put(storm, 'left_out', tally.left_out) end
  add(storm, 'alerts_beyond', begun_beyond)
  -- One that begins may be one of those of which nobody knows any more which they were.
  if number(storm.alerts_unknown) == 0 then begun = 0 end
  local unnamed = number(storm.estimated_firing_alerts)
  local more = math.max(begun_beyond - ended_beyond - begun, -unnamed)
  add(storm, 'estimated_firing_alerts', more)
  add(storm, 'estimated_firing', more)
  add(storm, 'estimated_resolved', ended_beyond)
  put(storm, 'alerts_last', folded_of(storm) + tally.signals + tally.changes)
end

-- What is known of alerts outlives the storm, so that a repeat opens no further one.
local function remember_alerts(changed, storm, keys)
  if #changed.here > 0 then redis.call('HSET', keys.alerts, unpack(changed.here)) end
  if #changed.before > 0 then redis.call('HSET', keys.before, unpack(changed.before)) end
  redis.call('EXPIRE', keys.before, KNOW_SECONDS)
  if storm.state == 'open' then
    redis.call('PERSIST', keys.beyond)
  else
    redis.call('EXPIRE', keys.beyond, KNOW_SECONDS)
  end
end
