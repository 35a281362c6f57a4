-- The alerts of the request before stay known. Those that still fire are among those that fire here, and
-- count no more. `changed` are those that were reported just now: what is `here` begins anew.
local function carry_alerts(storm, keys, changed)
  local here, word, flat = {}, {}, redis.call('HGETALL', keys.before)
  local carried, ended, firing, oldest = {}, {}, 0, now
  local room = KNOWN_ALERTS - #changed.here / 2
  for i = 1, #changed.here, 2 do here[changed.here[i]] = true end
  for i = 1, #changed.before, 2 do word[changed.before[i]] = changed.before[i + 1] end
  for i = 1, #flat, 2 do
    local id = flat[i]
    local alert = alert_of(word[id] or flat[i + 1])
    local heard = heard_of(storm, alert)
    if alert.fires and heard + storm.stale_after_ms <= now then alert.fires, alert.stale = false, true end
    local is_earlier = alert.fate ~= 'd' and not here[id]
    if is_earlier and alert.fires and firing < room then
      alert.fate, firing, oldest = 'b', firing + 1, math.min(oldest, heard)
      carried[#carried + 1], carried[#carried + 2] = id, text_of(alert)
    elseif is_earlier and not alert.fires and alert.said > now - RESOLVED_MS then
      alert.fate = 'c'
      ended[#ended + 1], ended[#ended + 2] = id, text_of(alert)
    end
  end
  -- The request is to list them, as far as it has room beside those that fire.
  for i = 1, math.min(#ended, 2 * (LISTED_ALERTS - firing)) do carried[#carried + 1] = ended[i] end
  for i = 1, #carried, 2000 do
    redis.call('HSET', keys.alerts, unpack(carried, i, math.min(i + 1999, #carried)))
  end
  if #carried > 0 then put(storm, 'alerts_last', 1) end
  if firing > 0 then
    put(storm, 'alerts_firing', firing)
    if storm.severity_before then put(storm, 'severity', storm.severity_before) end
    put(storm, 'stale_look_ms', oldest + storm.stale_after_ms)
  end
end

-- Opens the next storm of a group; `first` is the place of what it opens with, `n` how many arguments that
-- are.
local function open_next(storm, keys, first, n, changed)
  if storm.epoch then -- it had one, of which some is left
    redis.call('DEL', keys.resources, keys.hll, keys.instances, keys.alerts, keys.evidence)
    redis.call('DEL', keys.names)
    for _, key in ipairs({ keys.storm, keys.events, keys.ids }) do redis.call('PERSIST', key) end
  end
  put(storm, 'epoch', number(storm.epoch) + 1)
  put(storm, 'state', 'open')
  put(storm, 'incarnation', incarnation)
  put(storm, 'opened_ms', now)
  -- What is counted says at least the floor: a storm of alerts alone must leave it to the next one.
  if storm.signals_floor then put(storm, 'signals_last', storm.signals_floor) end
  if storm.events_floor then put(storm, 'events_last', storm.events_floor) end
  -- So long after a data loss those that fire have been repeated.
  local is_old = number(storm.heard_ms) + 1000 * KNOW_SECONDS < now
  if storm.alerts_unknown and is_old then put(storm, 'alerts_unknown', 0) end
  redis.call('SET', keys.opening, ARGV[first])
  for a = first + 1, first + n - 1, 2 do storm[ARGV[a]] = ARGV[a + 1] end
  carry_alerts(storm, keys, changed)
  -- Where the terms are. They are written last, since a hash is looked through in order.
  return first + 1, first + n - 1
end
