-- All that a request is written from: resources by HyperLogLog, instances, alerts known one by one, opening,
-- fields, listed resources, evidence, names, and these alerts if they are wanted, or the request does not
-- hold them as they are.
local function snapshot_of(
  alerts_wanted, storm_key, resources_key, hll_key, instances_key, opening_key, alerts_key, evidence_key,
  names_key
)
  local held = redis.call('HMGET', storm_key, 'alerts_last', 'written')
  local is_held = (held[1] or 0) + 0 <= (held[2] or 0) + 0
  return redis.call('PFCOUNT', hll_key), redis.call('SCARD', instances_key), redis.call('HLEN', alerts_key),
    redis.call('GET', opening_key) or '',
    redis.call('HGETALL', storm_key), redis.call('HGETALL', resources_key),
    redis.call('HGETALL', evidence_key), redis.call('HGETALL', names_key),
    (alerts_wanted or not is_held) and redis.call('HGETALL', alerts_key)
end
