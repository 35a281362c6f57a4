-- What is done about a storm of which something is lost.

-- Whether Redis knows less of a storm than its request.
local function is_behind(storm, epoch, folded)
  if not storm then return true end
  local ours = number(storm.epoch)
  return ours < epoch or (ours == epoch and storm.state ~= 'closed' and folded_of(storm) < folded)
end

-- Forgets what another server had discarded: since then it may have been counted, and this server not have
-- heard of it.
local function void_discards(storm, keys)
  storm.discarded_by, storm.discarded_as = nil, nil
  redis.call('HDEL', keys.storm, 'discarded_by', 'discarded_as')
  redis.call('ZREMRANGEBYSCORE', keys.ids, '(0', '+inf')
  local flat = redis.call('HGETALL', keys.counted)
  for i = 1, #flat, 2 do
    local text, discarded = string.gsub(flat[i + 1], ',%-?%d+d', '')
    if discarded > 0 then
      if string.find(text, ',') then
        redis.call('HSET', keys.counted, flat[i], text)
      else
        redis.call('HDEL', keys.counted, flat[i])
      end
    end
  end
end

local function forget_all(keys)
  redis.call('DEL', keys.storm, keys.resources, keys.hll, keys.instances, keys.beyond)
end

-- Forgets a storm of another server that has no request: whoever counted into it does so again. The alerts of
-- earlier storms are not known any more either.
local function drop(before, group_hash, keys)
  forget_all(keys)
  redis.call('DEL', keys.ids, keys.counted)
  redis.call('ZREM', due_key, group_hash)
  local storm = new_storm(keys.storm)
  put(storm, 'state', 'closed')
  put(storm, 'epoch', number(before.epoch) - 1)
  for _, field in ipairs({ 'signals_floor', 'events_floor', 'latest_start_ms' }) do
    if before[field] then put(storm, field, before[field]) end
  end
  if before.latest_start_ms then put(storm, 'lost_start_ms', before.latest_start_ms) end
  write_storm(storm)
  return storm
end

-- Puts the seed, whose arguments begin at a place, in the place of what there is. Its alerts and Events stay
-- known if the request was closed with just what Redis has: its closing is not noted here yet.
local function continue(before, group_hash, first, opening, keys)
  local closed_with, p = ARGV[first + 2], number(ARGV[first + 3])
  local resources_at = first + 4 + p
  local q = number(ARGV[resources_at])
  forget_all(keys)
  redis.call('ZREMRANGEBYSCORE', keys.ids, '-inf', 0)
  redis.call('SET', keys.opening, opening)
  redis.call('HSET', keys.storm, unpack(ARGV, first + 4, resources_at - 1))
  if q > 0 then redis.call('HSET', keys.resources, unpack(ARGV, resources_at + 1, resources_at + q)) end
  local storm = new_storm(keys.storm)
  read_rest(storm)
  for _, field in ipairs({ 'discarded_by', 'discarded_as' }) do
    if before and before[field] then put(storm, field, before[field]) end
  end
  if storm.state == 'open' then
    put(storm, 'incarnation', incarnation)
    redis.call('ZADD', due_key, now, group_hash)
  end
  local was = before and (before.incarnation or '') .. ':' .. folded_of(before)
  if storm.state == 'closed' and closed_with == was then
    put(storm, 'lost_start_ms', number(before.lost_start_ms))
    redis.call('EXPIRE', keys.counted, KNOW_SECONDS)
  else
    redis.call('DEL', keys.counted)
  end
  write_storm(storm)
  return storm
end
