#!lua
--[[
  Count a batch of signals into the storms of one partition, each signal once.

  KEYS[1]  checkpoint  hash  sf:{p<n>}:checkpoint; field ingest shard, value resourceVersion
  KEYS[2]  due         zset  sf:{p<n>}:due; member gid, score Unix ms
  KEYS[3]  storm       hash  sf:{p<n>}:storm:<gid>; its fields are listed in keys.py
  KEYS[4]  ids         zset  sf:{p<n>}:ids:<gid>; member signal id, score resourceVersion
  KEYS[5]  hll         HyperLogLog  sf:{p<n>}:hll:<gid>
  KEYS[6]  instances   set   sf:{p<n>}:instances:<gid>; 2i + 1 for firing, 2i for resolved
  KEYS[7]  opening     string  sf:{p<n>}:opening:<gid>
           KEYS[3] … KEYS[7] come once more for each further storm
  ARGV[1]  now, Unix ms, the caller's clock
  ARGV[2]  ingest shard
  ARGV[3]  how many storms follow; for each of them:
           gid, terms, opening, known epoch, known total, seed epoch, seed total,
           n and n values: the seed as fields and values of the storm hash (n is 0: no seed),
           m and for each of m signals: resourceVersion, signal id, firing 0|1,
           severity 0…4, seen ms, resource or '', instance

  Returns     per storm {word, epoch, total, open 0|1, next deadline in Unix ms or 0,
              ordinal of each signal …}; ordinal 0: it was safe before
              'counted'  the storm holds the signals
              'lost'     Redis knows less than the caller: send it all again, with a seed
              'closing'  the storm is being closed: nothing was counted, try again
  Guarantees  atomic for the batch; a signal is counted once while its id is kept, and never if its
              resourceVersion is not above the checkpoint or the storm's floor; the work per signal does
              not grow with the storm
]]
local checkpoint_key, due_key = KEYS[1], KEYS[2]
local now, shard, storms = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])

local WRITE_INTERVAL_MS = 1000
local MAX_INSTANCES = 512 -- what a set keeps as packed integers
local BASE_BYTES = 64 -- the longest value with which a hash stays packed

local checkpoint = tonumber(redis.call('HGET', checkpoint_key, shard) or '0')
local at = 4 -- the next argument to read

local function number(text) return tonumber(text or '0') or 0 end

local function fields(key)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local map = {}
  for i = 1, #flat, 2 do map[flat[i]] = flat[i + 1] end
  return map
end

local function behind(map, epoch, total)
  if not map then return true end
  local e = number(map.e)
  return e < epoch or (e == epoch and map.s ~= 'c' and number(map.t) < total)
end

-- The largest n up to the given one at which the text may be cut: Python must be able to read both pieces as UTF-8.
local function cut(text, n)
  while n > 0 and n < #text and string.byte(text, n + 1) >= 128 and string.byte(text, n + 1) < 192 do n = n - 1 end
  return n
end

local function base_of(resource) return string.sub(resource, 1, cut(resource, BASE_BYTES)) end

-- A listed resource is kept without what it has in common with the storm's base: '~', how much that is, the rest.
local function field_of(resource, base)
  local n, most = 0, math.min(#resource, #base)
  while n < most do
    local middle = math.ceil((n + most) / 2)
    if string.sub(resource, 1, middle) == string.sub(base, 1, middle) then n = middle else most = middle - 1 end
  end
  n = cut(resource, n)
  return '~' .. string.char(32 + n) .. string.sub(resource, n + 1)
end

local function resource_of(field, base)
  return string.sub(base, 1, string.byte(field, 2) - 32) .. string.sub(field, 3)
end

-- Reads the signals of one storm from ARGV; gives those that nobody has counted, and the ordinals so far.
local function read_signals(map, ids_key)
  local m = tonumber(ARGV[at])
  local first = at + 1
  at = first + m * 7
  local new, ordinals = {}, {}
  if m == 0 then return new, ordinals end
  local members = {}
  for i = 0, m - 1 do members[i + 1] = ARGV[first + i * 7 + 1] end
  local scores = redis.call('ZMSCORE', ids_key, unpack(members))
  local floor = math.max(checkpoint, number(map.fl))
  local total, seen = number(map.t), {}
  for i = 1, m do
    local a = first + (i - 1) * 7
    if tonumber(ARGV[a]) <= floor then
      ordinals[i] = 0
    elseif scores[i] then
      ordinals[i] = total
    else
      if not seen[members[i]] then
        new[#new + 1] = a
        seen[members[i]] = -#new -- made an ordinal once the storm is open
      end
      ordinals[i] = seen[members[i]]
    end
  end
  return new, ordinals
end

local function open_next(map, terms)
  return { e = number(map.e) + 1, s = 'o', o = now, rev = 1, fl = number(map.fl), p = number(map.p), k = terms }
end

local function window_of(map) return number(map.ws or map.o) end

-- What each instance says last counts; an instance beyond MAX_INSTANCES is only estimated.
local function count_instances(map, changed, last, order, instances_key)
  local probe = {}
  for _, i in ipairs(order) do
    probe[#probe + 1] = string.format('%.0f', i * 2)
    probe[#probe + 1] = string.format('%.0f', i * 2 + 1)
  end
  local held = redis.call('SMISMEMBER', instances_key, unpack(probe))
  local f, r, xf, xr = number(map.f), number(map.r), number(map.xf), number(map.xr)
  local add, remove = {}, {}
  for n, i in ipairs(order) do
    local was_resolved, was_firing = held[n * 2 - 1] == 1, held[n * 2] == 1
    local as_resolved, as_firing = probe[n * 2 - 1], probe[n * 2]
    if last[i] then
      if was_resolved then r = r - 1; remove[#remove + 1] = as_resolved end
      if was_resolved or (not was_firing and f + r < MAX_INSTANCES) then
        f = f + 1
        add[#add + 1] = as_firing
      elseif not was_firing then
        xf = xf + 1
      end
    else
      if was_firing then
        f = f - 1
        remove[#remove + 1] = as_firing
      elseif not was_resolved and xf > 0 then
        xf = xf - 1 -- one of those that fired unnamed
      end
      if was_firing or (not was_resolved and f + r < MAX_INSTANCES) then
        r = r + 1
        add[#add + 1] = as_resolved
      elseif not was_resolved then
        xr = xr + 1
      end
    end
  end
  if #remove > 0 then redis.call('SREM', instances_key, unpack(remove)) end
  if #add > 0 then redis.call('SADD', instances_key, unpack(add)) end
  changed.f, changed.r, changed.xf, changed.xr = f, r, xf, xr
end

local function count_rate(map, changed, n)
  local minute = math.floor(now / 60000)
  local before = number(map.m)
  if before == minute then
    changed.c0 = number(map.c0) + n
  else
    changed.c1 = before == minute - 1 and number(map.c0) or 0
    changed.c0 = n
    changed.m = minute
  end
end

local function threshold_reached(map, changed, limits, hll_key)
  if changed.wc >= limits[1] then return 's' end
  if limits[2] == 0 then return '' end
  local resources = changed.rc or number(map.rc)
  if (changed.tr or map.tr) == '1' then
    resources = math.max(resources, number(map.hb), redis.call('PFCOUNT', hll_key))
  end
  return resources >= limits[2] and 'r' or ''
end

local function next_due(map, limits)
  if number(map.w) > 0 then return math.max(now, number(map.lw) + WRITE_INTERVAL_MS) end
  if number(map.nf) > 0 then
    if map.d ~= '' then return now end
    if limits[5] == 0 then return number(map.o) + limits[4] end
  end
  return window_of(map) + limits[3]
end

local function count(map, new, ids_key, hll_key, instances_key)
  local limits = {}
  for part in string.gmatch(map.k, '%d+') do limits[#limits + 1] = tonumber(part) end
  local resource_limit = limits[9]
  local changed = {}
  local listed, unlisted, named = number(map.rc), {}, {}
  local base = map.b or ''
  local last, order, ids = {}, {}, {}
  local firing, severity, through = 0, number(map.v), number(map.p)
  local opened = number(map.o)
  local first_ms, last_ms
  if number(map.t) > 0 then first_ms, last_ms = opened + number(map.a), opened + number(map.z) end
  for _, a in ipairs(new) do
    local rv = tonumber(ARGV[a])
    ids[#ids + 1], ids[#ids + 2] = ARGV[a], ARGV[a + 1]
    through = math.max(through, rv)
    local fires = ARGV[a + 2] == '1'
    if fires then firing = firing + 1 end
    severity = math.max(severity, tonumber(ARGV[a + 3]))
    local seen = tonumber(ARGV[a + 4])
    first_ms, last_ms = math.min(first_ms or seen, seen), math.max(last_ms or seen, seen)
    local resource = ARGV[a + 5]
    if resource ~= '' then
      if base == '' then
        base = base_of(resource)
        changed.b = base
      end
      local field = named[resource] or field_of(resource, base)
      named[resource] = field
      local signals = changed[field] or map[field]
      if signals then
        changed[field] = tonumber(signals) + 1
      elseif listed < resource_limit then
        listed = listed + 1
        changed[field] = 1
      else
        unlisted[#unlisted + 1] = resource
      end
    end
    local instance = tonumber(ARGV[a + 6])
    if last[instance] == nil then order[#order + 1] = instance end
    last[instance] = fires
  end
  redis.call('ZADD', ids_key, unpack(ids))
  changed.rc = listed
  if #unlisted > 0 then
    if map.tr ~= '1' then
      changed.tr = '1'
      for _, from in ipairs({ map, changed }) do
        for field in pairs(from) do
          if string.byte(field) == 126 then unlisted[#unlisted + 1] = resource_of(field, base) end
        end
      end
    end
    redis.call('PFADD', hll_key, unpack(unlisted))
  end
  count_instances(map, changed, last, order, instances_key)
  count_rate(map, changed, #new)
  changed.t = number(map.t) + #new
  changed.nf = number(map.nf) + firing
  changed.v, changed.p = severity, through
  changed.a, changed.z, changed.l = first_ms - opened, last_ms - opened, now - opened
  if (map.d or '') == '' then
    if now - window_of(map) > limits[3] then
      changed.ws, changed.wc = now, firing
    else
      changed.wc = number(map.wc) + firing
    end
    changed.d = threshold_reached(map, changed, limits, hll_key)
  end
  if map.q == '1' then
    changed.q = ''
    changed.rev = number(map.rev) + 1
  end
  return changed, limits
end

-- A field that is missing is 0 or '': it is not written before it has another value.
local function write(key, changed, before)
  local flat = {}
  for field, value in pairs(changed) do
    if before[field] or (value ~= 0 and value ~= '') then
      flat[#flat + 1] = field
      flat[#flat + 1] = type(value) == 'number' and string.format('%.0f', value) or value
    end
  end
  redis.call('HSET', key, unpack(flat))
end

local function fold_storm(storm_key, ids_key, hll_key, instances_key, opening_key)
  local gid, terms, opening = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local known_epoch, known_total = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
  local seed_epoch, seed_total, n = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  local seed_at = at + 8
  at = seed_at + n
  local map = fields(storm_key)
  if behind(map, known_epoch, known_total) and (map or known_epoch > 0) then
    at = at + 1 + tonumber(ARGV[at]) * 7
    return { 'lost', 0, 0, 0, 0 }
  end
  if n > 0 and behind(map, seed_epoch, seed_total) then
    redis.call('DEL', storm_key, ids_key, hll_key, instances_key)
    redis.call('HSET', storm_key, unpack(ARGV, seed_at, seed_at + n - 1))
    redis.call('SET', opening_key, opening)
    map = fields(storm_key)
    if map.s == 'o' then redis.call('ZADD', due_key, now, gid) end
  elseif not map then
    redis.call('DEL', ids_key, hll_key, instances_key)
    map = { e = '0', s = 'c' }
  end
  if map.s == 'x' then
    at = at + 1 + tonumber(ARGV[at]) * 7
    return { 'closing', number(map.e), number(map.t), 0, 0 }
  end
  local new, ordinals = read_signals(map, ids_key)
  local due = n > 0 and map.s == 'o' and now or 0
  if #new > 0 then
    local opens = map.s == 'c'
    if opens then
      map = open_next(map, terms)
      redis.call('DEL', storm_key, hll_key, instances_key)
      redis.call('SET', opening_key, opening)
      write(storm_key, map, {})
    end
    local before = number(map.t)
    local changed, limits = count(map, new, ids_key, hll_key, instances_key)
    write(storm_key, changed, map)
    for field, value in pairs(changed) do map[field] = value end
    due = next_due(map, limits)
    redis.call('ZADD', due_key, 'LT', string.format('%.0f', due), gid)
    for i, ordinal in ipairs(ordinals) do
      if ordinal < 0 then ordinals[i] = before - ordinal end
    end
  end
  return { 'counted', number(map.e), number(map.t), map.s == 'o' and 1 or 0, due, unpack(ordinals) }
end

local replies = {}
for s = 1, storms do
  local k = 3 + (s - 1) * 5
  replies[s] = fold_storm(KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4])
end
return replies
