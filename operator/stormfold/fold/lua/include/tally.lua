-- A tally of alerts or Events, which come one by one: what `count` is to count.

local function new_tally(prefix)
  return {
    signals = 0, changes = 0, firing = 0, resolving = false, severity = 0, prefix = '', storm_prefix = prefix,
    resources = {}, resources_at = 1, r = 0, place_of = {}, weights = {}, weights_at = 1,
    members = {}, from = 1, to = 0, counted = {},
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
  tally.severity = math.max(tally.severity, number(severity))
  tally.first_ms = math.min(tally.first_ms or began, began)
  tally.last_ms = math.max(tally.last_ms or seen, seen)
  if resource ~= '' and weight > 0 then tally_resource(tally, resource, weight) end
end
