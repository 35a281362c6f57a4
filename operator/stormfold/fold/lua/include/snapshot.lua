-- All that a request is written from: resources by HyperLogLog, instances, opening, fields, listed resources.
local function snapshot_of(storm_key, resources_key, hll_key, instances_key, opening_key)
  return redis.call('PFCOUNT', hll_key), redis.call('SCARD', instances_key),
    redis.call('GET', opening_key) or '',
    redis.call('HGETALL', storm_key), redis.call('HGETALL', resources_key)
end
