-- Counts instances of which some end, or have no room.
local function count_each(storm, tally, firing, resolved, key)
  local estimates = redis.call(
    'HMGET', storm.key, 'estimated_firing', 'estimated_resolved', 'estimated_firing_alerts'
  )
  local estimated_firing, estimated_resolved = number(estimates[1]), number(estimates[2])
  local unnamed_alerts = number(estimates[3])
  local probe, new, old = {}, {}, {}
  for n = tally.from, tally.to do
    local as_resolved = 2 * math.floor(tally.members[n] / 2)
    probe[#probe + 1], probe[#probe + 2] = as_resolved, as_resolved + 1
  end
  local held = redis.call('SMISMEMBER', key, unpack(probe))
  for n = 1, #probe, 2 do
    local as_resolved, as_firing = probe[n], probe[n + 1]
    local was_resolved, was_firing = held[n] == 1, held[n + 1] == 1
    local known, has_room = was_resolved or was_firing, firing + resolved < MAX_INSTANCES
    if tally.members[tally.from + (n - 1) / 2] % 2 == 1 then
      if was_resolved then resolved, old[#old + 1] = resolved - 1, as_resolved end
      if was_resolved or (not known and has_room) then
        firing, new[#new + 1] = firing + 1, as_firing
      elseif not known then
        estimated_firing = estimated_firing + 1
      end
    else
      if was_firing then
        firing, old[#old + 1] = firing - 1, as_firing
      elseif not known and estimated_firing > unnamed_alerts then
        estimated_firing = estimated_firing - 1 -- one of those that fired unnamed, and are no alerts
      end
      if was_firing or (not known and has_room) then
        resolved, new[#new + 1] = resolved + 1, as_resolved
      elseif not known then
        estimated_resolved = estimated_resolved + 1
      end
    end
  end
  if #old > 0 then redis.call('SREM', key, unpack(old)) end
  if #new > 0 then redis.call('SADD', key, unpack(new)) end
  put(storm, 'instances_resolved', resolved)
  put(storm, 'estimated_firing', estimated_firing)
  put(storm, 'estimated_resolved', estimated_resolved)
end
