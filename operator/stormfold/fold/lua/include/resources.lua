-- Resources: the first ones are listed, each with its signals; of all that come later a HyperLogLog knows how
-- many. The list writes a resource as '+' and what follows the prefix of the storm, or as '=' and all of it.

-- How the list writes the resources of a tally.
local function fields_of(tally, prefix)
  local all, fields, resources, before = tally.prefix, {}, tally.resources, tally.resources_at - 1
  local mark = all == prefix and '+'
  if not mark and string.sub(all, 1, #prefix) == prefix then mark = '+' .. string.sub(all, #prefix + 1) end
  for n = 1, tally.r do
    local field = resources[before + n]
    if mark then
      fields[n] = mark .. field
    elseif string.sub(all .. field, 1, #prefix) == prefix then
      fields[n] = '+' .. string.sub(all .. field, #prefix + 1)
    else
      fields[n] = '=' .. all .. field
    end
  end
  return fields
end

local function count_resources(storm, tally, resources_key, hll_key)
  if not storm.resource_prefix then put(storm, 'resource_prefix', tally.storm_prefix) end
  local fields = fields_of(tally, storm.resource_prefix)
  local known = redis.call('HMGET', resources_key, unpack(fields))
  local weights, before = tally.weights, tally.weights_at - 1
  local counts, last, room, unlisted = {}, 0, nil, {}
  for n = 1, tally.r do
    local count = known[n]
    if not count then
      local limit = room or storm.resource_limit or redis.call('HGET', storm.key, 'resource_limit')
      room = room or number(limit) - redis.call('HLEN', resources_key)
      count, room = room > 0 and 0, room - 1
    end
    if count then
      counts[last + 1], counts[last + 2] = fields[n], count + (weights and weights[before + n] or 1)
      last = last + 2
    else
      unlisted[#unlisted + 1] = fields[n]
    end
  end
  if last > 0 then redis.call('HSET', resources_key, unpack(counts)) end
  if #unlisted == 0 then return end
  -- The listed ones are counted there, too, once there is one more.
  if redis.call('EXISTS', hll_key) == 0 then
    put(storm, 'truncated', 1)
    redis.call('PFADD', hll_key, unpack(redis.call('HKEYS', resources_key)))
  end
  redis.call('PFADD', hll_key, unpack(unlisted))
end
