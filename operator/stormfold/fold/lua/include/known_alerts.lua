-- What is known of alerts. The hash `alerts` has those of the storm. The hash `before` has those of the
-- group's request before it, and what was discarded.

-- What is known of an alert with this id, and whether that is in the storm.
local function known_alert(known, id)
  local text = known.here[id]
  if text then return alert_of(text), true end
  text = known.before[id]
  return text and alert_of(text) or nil, false
end

local function known_alerts(ids, keys)
  local known = { here = {}, before = {}, changed = { here = {}, before = {} }, to_note = {} }
  known.room = KNOWN_ALERTS - redis.call('HLEN', keys.alerts)
  for i, text in ipairs(redis.call('HMGET', keys.alerts, unpack(ids))) do known.here[ids[i]] = text end
  for i, text in ipairs(redis.call('HMGET', keys.before, unpack(ids))) do known.before[ids[i]] = text end
  return known
end

-- Notes what is known of an alert from now on, in the storm or in `before`.
local function know(known, place, id, alert)
  local text, changed = text_of(alert), known.changed[place]
  known[place][id], changed[#changed + 1], changed[#changed + 2] = text, id, text
end
