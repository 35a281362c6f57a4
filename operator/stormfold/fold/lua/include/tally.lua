-- A tally of alerts or Events, which come one by one: what `count` is to count.

local function new_tally(prefix)
  return {
    signals = 0, changes = 0, firing = 0, resolving = false, severity = 0, prefix = '', storm_prefix = prefix,
    resources = {}, resources_at = 1, r = 0, place_of = {}, weights = {}, weights_at = 1,
    members = {}, from = 1, to = 0,
  }
end

local function tally_resource(tally, resource, weight)
  local n = tally.place_of[resource]
  if n then
    tally.weights[n] = tally.weights[n] + weight
  else
    n = tally.r + 1
    tally.r, tally.place_of[resource], tally.resources[n], tally.weights[n] = n, n, resource, weight
  end
end

local function tally_one(tally, weight, fires, severity, began, seen, resource)
  tally.signals = tally.signals + weight
  if fires then tally.firing = tally.firing + weight else tally.resolving = true end
  tally.severity = math.max(tally.severity, tonumber(severity))
  tally.first_ms = math.min(tally.first_ms or began, began)
  tally.last_ms = math.max(tally.last_ms or seen, seen)
  if resource ~= '' and weight > 0 then tally_resource(tally, resource, weight) end
end

-- What is known one by one of the alerts and Events with these ids, and what is to be known from now on.
local function known_of(ids, counted_key)
  local known = { size = redis.call('HLEN', counted_key), values = {}, changed = {} }
  for i, value in ipairs(redis.call('HMGET', counted_key, unpack(ids))) do known.values[ids[i]] = value end
  return known
end

-- Whether there is room to know it.
local function takes(known, id)
  if known.values[id] then return true end
  if known.size >= KNOWN_ALERTS then return false end
  known.size = known.size + 1
  return true
end

local function know(known, id, value) known.values[id], known.changed[id] = value, value end

-- What is known of alerts and Events outlives the storm, so that a repeat opens no further one.
local function remember(known, closed, counted_key)
  local flat = {}
  for id, value in pairs(known.changed) do
    flat[#flat + 1], flat[#flat + 2] = id, value
  end
  if #flat > 0 then redis.call('HSET', counted_key, unpack(flat)) end
  if closed then redis.call('EXPIRE', counted_key, KNOW_SECONDS) end
end
