-- Alerts come one by one: eight arguments each, as the header says.
-- @include known_alerts
-- @include beyond
-- @include firing_again

-- What a report says of an alert that is not in the storm. It is in an earlier request, which gives the fate
-- 0, or was discarded, which gives false. One that fires on from before is one of those that fire here, and
-- counts no more. One that had ended, or was stale, and fires again opens the next storm.
local function judge_earlier(storm, known, report, alert, was)
  if alert.fate ~= 'd' then alert.fate = '' end
  know(known, 'before', report.id, alert)
  if alert.fate == 'd' then return nil, false end
  if not alert.fires then return nil, 0 end
  if storm.state ~= 'open' then
    if was == 'firing' or not opens_again(storm) then return nil, 0 end
    return { weight = 0, firing = 0, resolved = 0, stale = 0, opens = true }
  end
  if known.room <= 0 then return nil, 0 end
  known.room, alert.fate = known.room - 1, 'b'
  know(known, 'here', report.id, alert)
  local opens = was ~= 'firing' and opens_again(storm)
  return { weight = 0, firing = 1, resolved = 0, stale = 0, opens = opens }, not opens and 0 or nil
end

-- Whether the storm may still be discarded. Then no alert waits for its request that an earlier one has
-- counted.
local function may_be_discarded(storm)
  local open = open_of(storm)
  return open == 2 or open == 3
end

-- What a report says anew: `weight` is how often it counts, `firing`, `resolved` and `stale` are how many
-- more alerts fire, are resolved and are stale. Nothing if it changes nothing. Then comes its fate, if it
-- does not wait for the request of this storm.
local function judge(storm, known, report)
  local alert, here = known_alert(known, report.id)
  local was = alert and among(alert)
  if was == 'firing' and not here and is_silent(storm, alert) then was = 'stale' end
  local begins = not alert or take_in(alert, report)
  -- No request has one that was discarded at its end: that it fires again is news.
  if not here and was == 'resolved' and alert.fate == 'd' and alert.fires then begins = true end
  if alert and not here and not begins then return judge_earlier(storm, known, report, alert, was) end
  if not here then
    was = nil
    if is_noted(storm, known, report) then return nil, storm.state ~= 'open' and 0 or nil end
    if known.room <= 0 then return note_beyond(known, report) end
    known.room = known.room - 1
    alert = alert or { fires = report.fires, start = report.start, said = report.said }
  end
  local says_nothing = among(alert) == was and not begins
  local is_earlier = not begins and (alert.fate == 'b' or alert.fate == 'c')
  local opens = is_earlier and alert.fires and was ~= 'firing' and opens_again(storm)
  local fate = is_earlier and (says_nothing or may_be_discarded(storm)) and 0 or nil
  if alert.fate == 'c' and not says_nothing then was = nil end
  if not says_nothing then alert.fate = fate and 'b' or '' end
  know(known, 'here', report.id, alert)
  if says_nothing then return nil, fate end
  local found = { weight = begins and 1 or 0, firing = 0, resolved = 0, stale = 0, opens = opens }
  found[among(alert)] = 1
  if was then found[was] = found[was] - 1 end
  return found, fate
end

-- That a sender has left more alerts out of a post than the storm knows of is news.
local function note_left_out(storm, known, report)
  local before = known.left_out or number(storm.state == 'open' and storm.left_out)
  if report.left_out <= before or report.fate ~= nil then return end
  known.left_out = report.left_out
  report.found = report.found or { weight = 0, firing = 0, resolved = 0, stale = 0 }
end

-- Reads m alerts. Gives a tally, or nothing if none says anything new; the ordinals; and what is known one by
-- one.
local function read_alerts(storm, first, keys)
  local m, ids, reports = number(ARGV[first]), {}, {}
  for i = 1, m do
    local id, start, fires, ended = unpack(ARGV, first + 8 * i - 6, first + 8 * i - 3)
    local left_out, severity, said, resource = unpack(ARGV, first + 8 * i - 2, first + 8 * i + 1)
    ids[i] = id
    reports[i] = {
      id = id, start = number(start), fires = fires == '1', ended = number(ended), said = number(said),
      left_out = number(left_out), severity = severity, resource = resource,
    }
  end
  local known = known_alerts(ids, keys)
  read_beyond(known, reports, keys.beyond)
  for _, report in ipairs(reports) do
    report.found, report.fate = judge(storm, known, report)
    note_left_out(storm, known, report)
    if report.found then report.found.report = report end
  end
  bits_of(known.to_note, keys.beyond, 'SET', 1)
  local tally, ordinals = tally_alerts(storm, reports, ARGV[first + 1])
  if tally then tally.left_out = known.left_out end
  return tally, ordinals, known.changed
end
