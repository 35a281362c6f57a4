-- What is known of one alert: `f1767225600,1767225605123`. It fires, or is resolved (r), by the word that
-- came last, or is stale (s): it fired, and no word came for long; its latest start, in seconds; when that
-- word came, in ms; and a letter: `d` if it was discarded, `b` if an earlier request has counted it and it
-- fired on into this storm, `c` if it did not fire by then.

local function alert_of(text)
  local state, start, said, fate = string.match(text, '^(%a)(-?%d+),(%d+)(%a?)$')
  return {
    fires = state == 'f', stale = state == 's', start = number(start), said = number(said), fate = fate,
  }
end

-- When it was last heard of, in ms: after a data loss the time begins anew.
local function heard_of(storm, alert) return math.max(alert.said, number(storm.heard_ms)) end

-- Among which the storm counts it.
local function among(alert)
  if alert.fires then return 'firing' end
  return alert.stale and 'stale' or 'resolved'
end

local function text_of(alert)
  local state = string.sub(among(alert), 1, 1)
  return string.format('%s%.0f,%.0f%s', state, alert.start, alert.said, alert.fate)
end

-- Takes in a report of an alert that is known. True if it begins anew. The word that came last says the
-- state; but an end that lies before the latest start, and does not name it, is that of an older occurrence.
local function take_in(alert, report)
  local begins = report.start > alert.start
  if begins then alert.start = report.start end
  local is_of_latest = report.start == alert.start or report.ended >= alert.start
  if report.said >= alert.said then
    alert.said = report.said
    if report.fires or is_of_latest then alert.fires, alert.stale = report.fires, false end
  end
  return begins
end
