-- Alerts come one by one: seven arguments each, as the header says. What is found of one is a table, see
-- `judge`.

-- What a report is of an alert that may be known, and what became of a start that is; nothing new is nil.
local function judge(storm, known, report, opening, basis)
  -- What the caller is sure of holds for one request: another replica may have continued the storm from a
  -- later one.
  local sure = report.said >= 2 and basis == (storm.state == 'open' and storm.origin or '')
  local maybe = not sure and tonumber(report.start) <= number(storm.lost_start_ms)
  local fires, text = report.fires, known.values[report.id]
  local fate = text and fate_of_latest(text, report.start, fires, opening)
  if fate then return nil, fate end
  if not takes(known, report.id) then return { what = 'beyond', maybe = maybe } end
  local alert = alert_of(text)
  local what, before = note_report(alert, tonumber(report.start), fires, opening)
  if alert.changed then know(known, report.id, text_of(alert)) end
  if not what then return nil, before end
  return { what = what, before = before, maybe = maybe and what ~= 'resolution' }
end

-- That a sender has left more alerts out of a post than the storm knows of is news, be its alerts known or
-- not; what was found of one of them says it, or `fate` says that the storm has counted it.
local function with_left_out(storm, known, report, found, fate)
  if report.left_out == 0 or (not found and fate ~= HERE) then return found end
  local before = known.left_out or number(storm.state == 'open' and storm.left_out)
  if report.left_out <= before then return found end
  known.left_out = report.left_out
  found = found or { what = 'left-out', weight = 0 }
  found.left_out = report.left_out
  return found
end

-- Reads m alerts. Gives a tally, or nothing if none says anything new; the ordinals; and what is known one by
-- one.
local function read_alerts(storm, first, counted_key, beyond_key)
  local m, prefix, basis, ids = tonumber(ARGV[first]), ARGV[first + 1], ARGV[first + 2], {}
  for i = 1, m do ids[i] = ARGV[first + 7 * i - 3] end
  local known = known_of(ids, counted_key)
  local opening, folded = now, 0
  if storm.state == 'open' then opening, folded = number(storm.opened_ms), folded_of(storm) end
  local new, places = {}, {}
  for a = first + 3, first + 7 * m - 4, 7 do
    local said = tonumber(ARGV[a + 2])
    local report = {
      start = ARGV[a], id = ARGV[a + 1], said = said, fires = said % 2 == 1, left_out = tonumber(ARGV[a + 3]),
      severity = ARGV[a + 4], seen = ARGV[a + 5], resource = ARGV[a + 6],
    }
    local found, fate = judge(storm, known, report, opening, basis)
    found = with_left_out(storm, known, report, found, fate)
    if found then
      found.report, new[#new + 1] = report, found
      -- Of the alert whose end is counted now, the beginning was counted before.
      places[#places + 1] = { new = #new, again = found.what == 'resolution' or found.what == 'left-out' }
    elseif fate == DISCARDED or fate == BEFORE then
      places[#places + 1] = { fate = fate == BEFORE and 0 }
    else
      places[#places + 1] = { new = #new, again = true }
    end
  end
  weigh(new, beyond_key)
  local tally, ordinals = tally_alerts(new, places, folded, prefix)
  return #new > 0 and tally or nil, ordinals, known
end
