-- What is done about a storm of which something is lost.
-- @include before

-- Whether Redis knows less of a storm than its request. If it is closed, `before` may name what it must have.
local function is_behind(storm, epoch, folded, before)
  local more = storm and number(storm.epoch) - epoch
  if more ~= 0 then return not storm or more < 0 end
  if storm.state == 'closed' then return before and redis.call('EXISTS', before) == 0 end
  return folded_of(storm) < folded
end

-- Forgets what another server had discarded: since then it may have been counted, and this server not have
-- heard of it.
local function void_discards(storm, keys)
  storm.discarded_by, storm.discarded_as = nil, nil
  redis.call('HDEL', keys.storm, 'discarded_by', 'discarded_as')
  redis.call('ZREMRANGEBYSCORE', keys.ids, '(0', '+inf')
  local flat = redis.call('HGETALL', keys.before)
  for i = 1, #flat, 2 do
    if string.sub(flat[i + 1], -1) == 'd' then redis.call('HDEL', keys.before, flat[i]) end
  end
end

local function keep_fields(storm, before, ...)
  for _, field in ipairs({ ... }) do
    if before[field] then put(storm, field, before[field]) end
  end
end

local function forget_all(of)
  redis.call('DEL', of.storm, of.resources, of.hll, of.instances, of.alerts, of.evidence, of.names)
end

-- Forgets a storm of another server that has no request: whoever counted into it does so again.
local function drop(before, group_hash, keys)
  forget_all(keys)
  redis.call('DEL', keys.ids, keys.events, keys.beyond)
  redis.call('ZREM', due_key, group_hash)
  local storm = new_storm(keys.storm)
  put(storm, 'state', 'closed')
  put(storm, 'epoch', number(before.epoch) - 1)
  keep_fields(storm, before, 'signals_floor', 'events_floor', 'heard_ms', 'alerts_unknown')
  keep_fields(storm, before, 'discarded_by', 'discarded_as', 'severity_before')
  write_storm(storm)
  redis.call('EXPIRE', keys.storm, REMEMBER_SECONDS)
  return storm
end

-- Writes pairs of arguments from one place to another into a hash; there may be more than one call takes.
local function write_pairs(key, first, last)
  for a = first, last, 2000 do redis.call('HSET', key, unpack(ARGV, a, math.min(a + 1999, last))) end
end

-- Puts the seed, whose arguments begin at a place, in the place of what there is. Its alerts and Events stay
-- known if the request was closed with just what Redis has: its closing is not noted here yet.
local function continue(before, group_hash, first, opening, keys)
  local fields_at = first + 7
  local resources_at = fields_at + number(ARGV[first + 3])
  local alerts_at = resources_at + number(ARGV[first + 4])
  local names_at = alerts_at + number(ARGV[first + 5])
  local alerts_to, names_to = names_at - 1, names_at + number(ARGV[first + 6]) - 1
  local is_all = before and ARGV[first + 2] == (before.incarnation or '') .. ':' .. folded_of(before)
  if is_all then
    join_before(before, keys.alerts, keys.before, keys.beyond)
  else
    redis.call('DEL', keys.beyond)
  end
  forget_all(keys)
  redis.call('ZREMRANGEBYSCORE', keys.ids, '-inf', 0)
  write_pairs(keys.storm, fields_at, resources_at - 1)
  write_pairs(keys.resources, resources_at, alerts_at - 1)
  write_pairs(keys.names, names_at, names_to)
  local storm = new_storm(keys.storm) -- one that has no epoch yet, if its request says nothing
  read_rest(storm)
  if before then keep_fields(storm, before, 'discarded_by', 'discarded_as') end
  put(storm, 'heard_ms', is_all and number(before.heard_ms) or now)
  if is_all then put(storm, 'alerts_unknown', number(before.alerts_unknown)) end -- Redis has the others
  if storm.state == 'open' then
    put(storm, 'incarnation', incarnation)
    redis.call('SET', keys.opening, opening)
    redis.call('ZADD', due_key, now, group_hash)
    write_pairs(keys.alerts, alerts_at, alerts_to)
  elseif not is_all then
    redis.call('DEL', keys.before)
    write_pairs(keys.before, alerts_at, alerts_to)
  end
  redis.call('EXPIRE', keys.before, KNOW_SECONDS)
  if storm.state == 'closed' then
    redis.call('DEL', keys.opening)
    redis.call('EXPIRE', keys.storm, REMEMBER_SECONDS)
    redis.call('EXPIRE', keys.beyond, KNOW_SECONDS)
  end
  if storm.state == 'closed' and is_all then
    redis.call('EXPIRE', keys.events, KNOW_SECONDS)
  else
    redis.call('DEL', keys.events)
  end
  write_storm(storm)
  return storm
end
