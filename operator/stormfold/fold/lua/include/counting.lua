-- How a tally is counted into a storm that is open.
-- @include resources
-- @include instances
-- @include times

local function count(storm, tally, keys)
  local is_first = folded_of(storm) == 0
  if tally.highest then -- how far a stream is counted
    local last = tally.events and 'events_last' or 'signals_last'
    if tally.highest > number(storm[last]) then put(storm, last, tally.highest) end
  end
  if tally.r > 0 then count_resources(storm, tally, keys.resources, keys.hll) end
  if tally.to >= tally.from then count_instances(storm, tally, keys.instances) end
  count_times(storm, tally, keys)
  if is_first or tally.first_ms < number(storm.first_ms) then put(storm, 'first_ms', tally.first_ms) end
  if is_first or tally.last_ms > number(storm.last_ms) then put(storm, 'last_ms', tally.last_ms) end
  add(storm, 'total', tally.signals)
  add(storm, 'changes', tally.changes)
  add(storm, 'firing_signals', tally.firing)
  if tally.severity > number(storm.severity) then put(storm, 'severity', tally.severity) end
  if tally.events then -- by how much the latest happened before this arrival
    local before = number(storm.arrived_ms)
    if number(storm.late_at_ms) == before then before = before - number(storm.late_ms) end
    put(storm, 'late_ms', math.max(0, now - math.max(tally.events[#tally.events].time, before)))
    put(storm, 'late_at_ms', now)
  end
  put(storm, 'arrived_ms', now)
  if storm.settled == '1' then
    put(storm, 'settled', 0)
    -- Only what says Firing makes what a consumer has seen an older revision.
    if tally.firing > 0 or tally.fires then add(storm, 'reopened', 1) end
  end
end

-- When somebody is to look at a storm of which more has come.
local function next_due(storm)
  if number(storm.written) > 0 then return math.max(now, number(storm.written_ms) + WRITE_INTERVAL_MS) end
  if storm.still_firing or (number(storm.firing_signals) > 0 and storm.detected) then return now end
  local opened = number(storm.opened_ms)
  if number(storm.firing_signals) > 0 and number(storm.discard) == 0 then
    return opened + number(storm.group_wait_ms)
  end
  return math.max(number(storm.window_ms), opened) + number(storm.within_ms)
end
