-- Events come one by one: nine arguments each, as the header says. The hash `events` has how often each has
-- occurred, also in earlier storms of the group.

-- When an Event counts. Less than FRESH_MS ago is now: its time has whole seconds.
local function time_of(seen) return seen < now - FRESH_MS and seen or now end

-- Reads m Events. Gives a tally, or nothing if none has occurred anew; the ordinals; and what is known one by
-- one.
local function read_events(storm, first, keys)
  local m, prefix, ids = number(ARGV[first]), ARGV[first + 1], {}
  for i = 1, m do ids[i] = ARGV[first + 9 * i - 6] end
  local size, known, changed = redis.call('HLEN', keys.events), {}, {}
  for i, count in ipairs(redis.call('HMGET', keys.events, unpack(ids))) do known[ids[i]] = count end
  local floor, folded = number(storm.events_floor), storm.state == 'open' and folded_of(storm) or 0
  local tally, ordinals, latest, order = new_tally(prefix), {}, {}, {}
  tally.events = {}
  for i = 1, m do
    local a = first + 9 * i - 7
    local version, id, after, count, severity = unpack(ARGV, a, a + 4)
    local seen, span, resource, instance = unpack(ARGV, a + 5, a + 8)
    local before = math.max(number(after), number(known[id]))
    local weight = number(count) - before
    if weight > 0 and (known[id] or size < KNOWN_ALERTS) then
      if not known[id] then size = size + 1 end
      known[id] = count
      changed[#changed + 1], changed[#changed + 2] = id, count
    end
    version, seen = number(version), number(seen)
    -- At or below the floor a request has counted it so often: of its next arrival only what is more is new.
    if weight > 0 and version > floor then
      -- Of further occurrences it is not known when they were, but of the latest.
      span = before == 0 and number(span) or 0
      tally.events[#tally.events + 1] = { weight = weight, span = span, time = time_of(seen) }
      tally.highest = math.max(tally.highest or version, version)
      tally_one(tally, weight, true, severity, seen - span, seen, resource)
      latest[instance], tally.counted[i] = true, weight
    end
    ordinals[i] = folded + tally.signals
  end
  for instance in pairs(latest) do order[#order + 1] = instance * 2 + 1 end
  tally.members, tally.to = order, #order
  return tally.signals > 0 and tally or nil, ordinals, { events = changed, here = {}, before = {} }
end

-- What is known of Events outlives the storm, so that a repeat opens no further one.
local function remember_events(changed, _, keys)
  if #changed.events > 0 then redis.call('HSET', keys.events, unpack(changed.events)) end
  redis.call('EXPIRE', keys.events, KNOW_SECONDS)
end
