-- Evidence: what the signals of a storm show, until its request holds it. See keys.py.
-- @include names
-- @include causes

-- Takes the samples of a piece, s times place in the piece and JSON: those whose signal counts. Of what comes
-- after the first ones only the latest are kept.
local function take_samples(storm, tally, at, s, changed)
  local sampled = number(storm.sampled)
  for a = at, at + 2 * s - 2, 2 do
    if not tally.counted or (tally.counted[number(ARGV[a])] or 0) > 0 then
      sampled = sampled + 1
      local field = sampled <= FIRST_SAMPLES and 'sample_' .. sampled or 'latest_' .. sampled % LATEST_SAMPLES
      changed[field] = ARGV[a + 1]
    end
  end
  if sampled > number(storm.sampled) then put(storm, 'sampled', sampled) end
end

-- What two JSON objects of texts have in common.
local function in_common(one, other)
  local left, right = cjson.decode(one), cjson.decode(other)
  for name, value in pairs(left) do
    if right[name] ~= value then left[name] = nil end
  end
  return cjson.encode(left)
end

-- How a field that the request does not hold yet becomes another one.
local joined = {
  labels = in_common,
  annotations = in_common,
  runbook_urls = function(one, other) return #one < RUNBOOK_BYTES and one .. '\n' .. other or one end,
  started_ms = function(one, other) return number(one) < number(other) and one or other end,
}

-- Takes n fields, each with what is to be joined to it.
local function take_fields(at, n, key, changed)
  if n == 0 then return end
  local fields = {}
  for i = 1, n do fields[i] = ARGV[at + 2 * i - 2] end
  for i, before in ipairs(redis.call('HMGET', key, unpack(fields))) do
    local field, value = fields[i], ARGV[at + 2 * i - 1]
    changed[field] = before and joined[field](before, value) or value
  end
end

local function take_evidence(storm, tally, at, key, names_key)
  local changed, flat, n, s = {}, {}, number(ARGV[at]), number(ARGV[at + 1])
  take_fields(at + 3, n, key, changed)
  take_causes(storm, tally, ARGV[at + 2], key, changed)
  local samples_at = at + 3 + 2 * n
  take_samples(storm, tally, samples_at, s, changed)
  take_names(storm, tally, samples_at + 2 * s, names_key)
  for field, value in pairs(changed) do flat[#flat + 1], flat[#flat + 2] = field, value end
  if #flat > 0 then redis.call('HSET', key, unpack(flat)) end
end
