-- Evidence: what the signals of a storm show, until its request holds it. See keys.py.
-- @include names

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

local function take_evidence(storm, tally, at, key, names_key)
  local changed, flat, s = {}, {}, number(ARGV[at])
  take_samples(storm, tally, at + 1, s, changed)
  take_names(storm, tally, at + 1 + 2 * s, names_key)
  for field, value in pairs(changed) do flat[#flat + 1], flat[#flat + 2] = field, value end
  if #flat > 0 then redis.call('HSET', key, unpack(flat)) end
end
