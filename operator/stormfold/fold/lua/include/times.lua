-- Threshold and rate. Signals and alerts count when they come, Events when they happened, which they say.

local function count_rate(storm, time, n)
  local minute, latest = math.floor(time / MINUTE_MS), number(storm.minute)
  if minute == latest then
    add(storm, 'minute_count', n)
  elseif minute > latest then
    put(storm, 'minute_before_count', minute == latest + 1 and number(storm.minute_count) or 0)
    put(storm, 'minute', minute)
    put(storm, 'minute_count', n)
  elseif minute == latest - 1 then
    add(storm, 'minute_before_count', n)
  end
end

-- Which threshold the storm has reached now, if it has not before.
local function count_times(storm, tally, keys)
  if storm.detected and not tally.events then return count_rate(storm, now, tally.signals) end
  -- @include windows
  return count_in_windows(storm, tally, keys)
end
