-- Alerts for which there is no room one by one are noted in a Bloom filter: a digest names six of its bits.
-- What is noted of an alert is that it began, and that it ended.
local function begin_of(report) return 'f' .. report.id .. ',' .. report.start end
local function end_of(report) return 'r' .. report.id .. ',' .. report.start end

local BITS = 6 -- of each member
local PIECE = 200 -- as many members as one call takes

-- What BITFIELD says to a command for each bit of some members.
local function bits_of(members, key, verb, value)
  local found = {}
  for first = 1, #members, PIECE do
    local commands = {}
    for n = first, math.min(first + PIECE - 1, #members) do
      local digest = redis.sha1hex(members[n])
      for i = 1, 5 * BITS, 5 do
        local bit = tonumber(string.sub(digest, i, i + 4), 16) % BEYOND_BITS
        for _, word in ipairs({ verb, 'u1', bit, value }) do commands[#commands + 1] = word end
      end
    end
    for _, bit in ipairs(redis.call('BITFIELD', key, unpack(commands))) do found[#found + 1] = bit end
  end
  return found
end

-- Which of these are noted, as far as a filter can tell.
local function noted_beyond(members, key)
  local noted, bits = {}, bits_of(members, key, 'GET')
  for n, member in ipairs(members) do
    local sum = 0
    for i = BITS * (n - 1) + 1, BITS * n do sum = sum + bits[i] end
    if sum == BITS then noted[member] = true end
  end
  return noted
end

-- Looks for what is noted of the reports of alerts that the storm does not know one by one.
local function read_beyond(known, reports, key)
  known.noted = {}
  if redis.call('EXISTS', key) == 0 then return end
  local members = {}
  for _, report in ipairs(reports) do
    if not known.here[report.id] then
      members[#members + 1] = begin_of(report)
      if not report.fires then members[#members + 1] = end_of(report) end
    end
  end
  known.noted = noted_beyond(members, key)
end

-- Whether an alert that the storm does not know one by one is noted, so that a report of it counts no more.
-- The end of one that this storm has counted counts once.
local function is_noted(storm, known, report)
  if report.fires then return known.noted[begin_of(report)] end
  if known.noted[end_of(report)] then return true end
  local counts_ends = storm.state == 'open' and number(storm.alerts_beyond) > 0
  return known.noted[begin_of(report)] and not counts_ends
end

local function note_beyond(known, report)
  local member = report.fires and begin_of(report) or end_of(report)
  known.noted[member], known.to_note[#known.to_note + 1] = true, member
  return { beyond = true, weight = report.fires and 1 or 0 }
end
