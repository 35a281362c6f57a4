-- How often each name of a signal has come, of the most frequent ones, by space-saving: `120`, or `120 31` if
-- up to 31 of them may be those of others. A name that is not among them may have come as often as
-- `names_floor` of the storm says.

local function count_of(text)
  local count, others = string.match(text, '^(%d+) ?(%d*)$')
  return { count = number(count), others = others ~= '' and number(others) or 0 }
end

local function text_of_count(of)
  if of.others == 0 then return string.format('%.0f', of.count) end
  return string.format('%.0f %.0f', of.count, of.others)
end

local function rarest(kept)
  local least
  for name, of in pairs(kept) do
    if not least or of.count < kept[least].count or (of.count == kept[least].count and name > least) then
      least = name
    end
  end
  return least
end

-- Makes room for new names; what is the rarest goes.
local function admit(storm, key, new, counts, changed)
  local kept, size, flat = {}, 0, redis.call('HGETALL', key)
  for i = 1, #flat, 2 do kept[flat[i]], size = count_of(flat[i + 1]), size + 1 end
  for name, of in pairs(changed) do kept[name] = of end
  local floor, gone = number(redis.call('HGET', storm.key, 'names_floor')), {}
  for _, name in ipairs(new) do
    if size >= COUNTED_NAMES then
      local least = rarest(kept)
      floor = math.max(floor, kept[least].count)
      kept[least], changed[least], gone[#gone + 1] = nil, nil, least
    else
      size = size + 1
    end
    kept[name] = { count = floor + counts[name], others = floor }
    changed[name] = kept[name]
  end
  if #gone > 0 then
    put(storm, 'names_floor', floor)
    redis.call('HDEL', key, unpack(gone))
  end
end

local function count_names(storm, names, counts, key)
  local held, new, changed, flat = redis.call('HMGET', key, unpack(names)), {}, {}, {}
  for n, name in ipairs(names) do
    if held[n] then
      changed[name] = count_of(held[n])
      changed[name].count = changed[name].count + counts[name]
    else
      new[#new + 1] = name
    end
  end
  if #new > 0 then admit(storm, key, new, counts, changed) end
  for name, of in pairs(changed) do flat[#flat + 1], flat[#flat + 2] = name, text_of_count(of) end
  redis.call('HSET', key, unpack(flat))
end

-- Counts the names of a piece: k names, and for a sum as many counts; else which of them each signal has.
local function take_names(storm, tally, at, key)
  local k, counts, names = number(ARGV[at]), {}, {}
  if k == 0 then return end
  local following = at + k
  if tally.counted then
    for i, weight in pairs(tally.counted) do
      local name = ARGV[at + number(ARGV[following + i])]
      counts[name] = (counts[name] or 0) + weight
    end
  else
    for n = 1, k do counts[ARGV[at + n]] = number(ARGV[following + n]) end
  end
  for n = 1, k do
    local name = ARGV[at + n]
    if (counts[name] or 0) > 0 then names[#names + 1] = name end
  end
  if #names > 0 then count_names(storm, names, counts, key) end
end
