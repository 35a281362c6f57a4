-- A storm as a table of what its hash says: most values are texts, and what is missing is nil or false. `put`
-- and `add` change the table and note what `write_storm` is to write. keys.py lists the fields.

-- The number that a text says, or 0 for none; tonumber takes twice as long.
local function number(text) return (text or 0) + 0 end

local function new_storm(key) return { key = key, state = 'closed' } end

-- What nearly every call needs of a storm; `read_rest` gives all.
local function read_storm(key)
  local value = redis.call(
    'HMGET', key, 'epoch', 'state', 'incarnation', 'total', 'changes', 'firing_signals', 'written',
    'written_ms', 'detected', 'settled', 'severity', 'first_ms', 'last_ms', 'minute', 'minute_count',
    'signals_last', 'instances_resolved', 'resource_prefix', 'sampled'
  )
  if not value[1] then return nil end
  return {
    key = key, epoch = value[1], state = value[2], incarnation = value[3], total = number(value[4]),
    changes = number(value[5]), firing_signals = value[6], written = value[7], written_ms = value[8],
    detected = value[9],
    settled = value[10], severity = value[11], first_ms = value[12], last_ms = value[13], minute = value[14],
    minute_count = value[15], signals_last = value[16], instances_resolved = value[17],
    resource_prefix = value[18], sampled = value[19],
  }
end

local function read_rest(storm)
  local flat = redis.call('HGETALL', storm.key)
  for i = 1, #flat, 2 do storm[flat[i]] = flat[i + 1] end
end

-- All of a storm at once.
local function read_whole(key)
  local storm = new_storm(key)
  read_rest(storm)
  return storm.epoch and storm or nil
end

local writes, last_write = {}, 0 -- name and value of each field to be written

local function put(storm, field, value)
  storm[field], writes[last_write + 1], writes[last_write + 2] = value, field, value
  last_write = last_write + 2
end

local function add(storm, field, value)
  if value ~= 0 then put(storm, field, number(storm[field]) + value) end
end

local function write_storm(storm)
  if last_write > 0 then redis.call('HSET', storm.key, unpack(writes, 1, last_write)) end
  last_write = 0
end

-- How much of a storm there is for its request to hold: signals, and changes such as the end of an alert.
local function folded_of(storm) return number(storm.total) + number(storm.changes) end
