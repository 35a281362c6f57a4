-- What is known of one alert: whether it fires, which storm counts it, and its latest starts with what became
-- of each: it is in that storm, in an earlier one that has a request, or was discarded. keys.py says how it
-- is written.
local HERE, BEFORE, DISCARDED = '', 'c', 'd'

local function alert_of(text)
  if not text then return { starts = {}, fates = {} } end
  local opening = tonumber(string.match(text, '^%a(%d+)'))
  local alert = { state = string.sub(text, 1, 1), opening = opening, starts = {}, fates = {} }
  for start, fate in string.gmatch(text, ',(-?%d+)([cd]?)') do
    alert.starts[#alert.starts + 1] = tonumber(start)
    alert.fates[#alert.fates + 1] = fate
  end
  return alert
end

local function text_of(alert)
  local parts = { string.format('%s%.0f', alert.state, alert.opening) }
  for i, start in ipairs(alert.starts) do parts[i + 1] = string.format('%.0f%s', start, alert.fates[i]) end
  return table.concat(parts, ',')
end

local function fate_of(fate, alert_opening, opening)
  return (fate == HERE and alert_opening ~= opening) and BEFORE or fate
end

-- What became of the latest start, if a report says nothing more of it: what `note_report` would find, for
-- less.
local function fate_of_latest(text, start, fires, opening)
  local from, latest, fate = string.match(text, '^%a(%d+),(-?%d+)([cd]?)')
  if latest ~= start then return nil end
  fate = fate_of(fate, tonumber(from), opening)
  return (fires or fate == DISCARDED or string.sub(text, 1, 1) == 'r') and fate or nil
end

-- A report of a start that is known. Gives 'resolution' for the end of one that the storm counts as firing,
-- and what it was counted as; or nothing, and what had become of it.
local function note_known(alert, i, fires, opening)
  local fate = fate_of(alert.fates[i], alert.opening, opening)
  if i > 1 or fires or alert.state == 'r' or fate == DISCARDED then return nil, fate end
  alert.state, alert.changed = 'r', true
  if alert.opening == opening then return 'resolution', 'f' end
  return nil, fate
end

-- Notes one report of an alert. 'instance' is new, 'older' is new but not the latest of its alert,
-- 'resolution' is the end of one that the storm counts as firing; nil changes nothing in the storm. Then
-- comes what the storm counted the alert as before, 'f' or 'r', or nil; or, behind nil, what had become of
-- its start.
local function note_report(alert, start, fires, opening)
  local starts, fates = alert.starts, alert.fates
  for i, known in ipairs(starts) do
    if known == start then return note_known(alert, i, fires, opening) end
  end
  if #starts == MAX_STARTS and start < starts[MAX_STARTS] then return nil, BEFORE end
  local place = 1
  while starts[place] and starts[place] > start do place = place + 1 end
  for i, fate in ipairs(fates) do fates[i] = fate_of(fate, alert.opening, opening) end
  table.insert(starts, place, start)
  -- Which storm has an older start than that of another storm is not known from then on.
  table.insert(fates, place, (place > 1 and alert.opening ~= opening) and BEFORE or HERE)
  starts[MAX_STARTS + 1], fates[MAX_STARTS + 1] = nil, nil
  alert.changed = true
  if place > 1 then return 'older' end
  local before = alert.opening == opening and alert.state or nil
  alert.state, alert.opening = fires and 'f' or 'r', opening
  return 'instance', before
end
