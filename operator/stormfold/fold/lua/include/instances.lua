-- Instances: what each of them says last counts. One beyond MAX_INSTANCES is only estimated.

local function count_instances(storm, tally, key)
  local resolved, most = number(storm.instances_resolved), number(storm.total) + tally.signals
  if most > MAX_INSTANCES then most = redis.call('SCARD', key) + tally.to - tally.from + 1 end
  if tally.resolving or most > MAX_INSTANCES then
    -- @include each_instance
    return count_each(storm, tally, redis.call('SCARD', key) - resolved, resolved, key)
  end
  -- All of them fire, and there is room for each to be named.
  if resolved > 0 then
    local ended = {}
    for n = tally.from, tally.to do ended[#ended + 1] = tally.members[n] - 1 end
    add(storm, 'instances_resolved', -redis.call('SREM', key, unpack(ended)))
  end
  redis.call('SADD', key, unpack(tally.members, tally.from, tally.to))
end
