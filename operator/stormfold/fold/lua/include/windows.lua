-- The window of a threshold begins with the first that fires in it.

-- Counts what fires in a window that begins with the first of it.
local function count_window(window, time, n, within)
  if time - window.begins > within then window.begins, window.count = time, 0 end
  window.count = window.count + n
  window.most = math.max(window.most, window.count)
end

-- Counts Events in the order of time. What happened before the storm's window began has one of its own.
local function count_events(storm, events, window, within)
  table.sort(events, function(one, other) return one.time < other.time end)
  -- How many of its occurrences were within some ms before the latest: they are taken as evenly spread.
  local function lately(event, ms)
    if event.span <= ms then return event.weight end
    return 1 + math.floor((event.weight - 1) * ms / event.span)
  end
  if number(storm.total) == 0 then window.begins = events[1].time end
  local began, earlier = window.begins, { begins = -math.huge, count = 0, most = 0 }
  for _, event in ipairs(events) do
    count_rate(storm, event.time, lately(event, MINUTE_MS))
    count_window(event.time < began and earlier or window, event.time, lately(event, within), within)
  end
  window.most = math.max(window.most, earlier.most)
end

-- Which threshold the storm has reached now, if it has not before.
local function count_in_windows(storm, tally, keys)
  local within, begins = number(storm.within_ms), number(storm.window_ms or storm.opened_ms)
  local window = { begins = begins, count = number(storm.window_count), most = 0 }
  if tally.events then
    count_events(storm, tally.events, window, within)
  else
    count_rate(storm, now, tally.signals)
    count_window(window, now, tally.firing, within)
  end
  if storm.detected then return end
  if window.begins ~= begins then put(storm, 'window_ms', window.begins) end
  put(storm, 'window_count', window.count)
  local wanted = number(storm.threshold_resources)
  if window.most >= number(storm.threshold_signals) then
    put(storm, 'detected', 'signals')
  elseif wanted > 0 and window.most >= wanted then -- as many resources are not affected by fewer signals
    local resources = redis.call('HLEN', keys.resources)
    if storm.truncated then
      resources = math.max(resources, number(storm.resources_at_least), redis.call('PFCOUNT', keys.hll))
    end
    if resources >= wanted then put(storm, 'detected', 'resources') end
  end
end
