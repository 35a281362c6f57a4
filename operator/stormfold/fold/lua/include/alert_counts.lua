-- What is counted of the alerts of a piece that say something new.

-- How many of the alerts that are not known one by one are new, by a HyperLogLog, is spread over them from
-- the first on.
local function weigh(new, beyond_key)
  local beyond, ids = {}, {}
  for _, found in ipairs(new) do
    if found.what == 'beyond' then
      beyond[#beyond + 1], ids[#ids + 1] = found, found.report.id .. ',' .. found.report.start
    else
      found.weight = found.weight or (found.what == 'resolution' and 0 or 1)
    end
  end
  if #beyond == 0 then return end
  local before = redis.call('PFCOUNT', beyond_key)
  redis.call('PFADD', beyond_key, unpack(ids))
  local more = redis.call('PFCOUNT', beyond_key) - before
  for n, found in ipairs(beyond) do found.weight = n <= more and 1 or 0 end
end

-- The ordinals of the alerts: `place` says which of the new ones counts each, or what else became of it.
local function tally_alerts(new, places, folded, prefix)
  local tally, at = new_tally(prefix), {}
  tally.alerts = new
  for n, found in ipairs(new) do
    local report = found.report
    local seen = tonumber(report.seen)
    local fires = report.fires or found.what == 'left-out'
    tally_one(tally, found.weight, fires, report.severity, seen, seen, report.resource)
    if found.weight == 0 then tally.changes = tally.changes + 1 end
    at[n] = folded + tally.signals + tally.changes
    if found.maybe then at[n] = -at[n] end
  end
  local ordinals = {}
  for i, place in ipairs(places) do
    ordinals[i] = place.fate
    if place.new then ordinals[i] = place.new == 0 and folded or at[place.new] end
    if place.again then ordinals[i] = -math.abs(ordinals[i]) end
  end
  return tally, ordinals
end

-- The alerts that fire and that are resolved, by the latest start of each.
local function count_alert(storm, found)
  local weight, fires, what = found.weight, found.report.fires, found.what
  if found.left_out then put(storm, 'left_out', found.left_out) end
  if what == 'left-out' then return end
  -- One of the alerts that fired unnamed does no more, or is known by now.
  local function named()
    if number(storm.estimated_firing_alerts) > 0 then
      add(storm, 'estimated_firing', -1)
      add(storm, 'estimated_firing_alerts', -1)
    end
  end
  if what ~= 'resolution' then
    add(storm, 'alerts', weight)
    put(storm, 'latest_start_ms', math.max(number(storm.latest_start_ms), tonumber(found.report.start)))
  end
  if found.maybe then
    add(storm, 'alerts_repeated', weight)
    named()
  end
  if what == 'beyond' then
    put(storm, 'alerts_estimated', 1)
    if fires then
      add(storm, 'estimated_firing', weight)
      add(storm, 'estimated_firing_alerts', weight)
    else
      named()
      add(storm, 'estimated_resolved', 1)
    end
  elseif what ~= 'older' then
    if found.before then add(storm, found.before == 'f' and 'alerts_firing' or 'alerts_resolved', -1) end
    add(storm, what == 'instance' and fires and 'alerts_firing' or 'alerts_resolved', 1)
  end
end

local function count_alerts(storm, all)
  for _, found in ipairs(all) do count_alert(storm, found) end
end
