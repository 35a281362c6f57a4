-- Signals come summed up. All of a sum are new, or it is a sum of one. In the set of ids, the score of a
-- Signal is minus its resourceVersion, so that the newest come first: that is where a small set takes new
-- members at the least cost. One that was discarded has it above 0.

-- Reads the sum of the Signals that begins at a place of ARGV and notes their ids. Gives a tally if all are
-- new; or nothing, and of one alone what became of it. Several of which some may be known change nothing:
-- `apart` is true then. None is known by a version above the newest one counted, so that of ids which are
-- noted blindly the score tells the new ones: it is their own version.
local signals_trimmed
local function read_signals(storm, first, ids_key)
  local m = number(ARGV[first])
  if m == 0 then return nil, {} end
  local lowest = number(ARGV[first + 1])
  local r, w = number(ARGV[first + 8]), number(ARGV[first + 9])
  local members_at = first + 10 + r + w + 1
  local ids_at = members_at + number(ARGV[members_at - 1])
  local last = ids_at + 2 * m - 1
  -- At or below this version no Signal of the storm is counted.
  signals_trimmed = signals_trimmed or number(redis.call('HGET', checkpoint_key, 'signals'))
  local newest = math.max(signals_trimmed, number(storm.signals_floor))
  if storm.state == 'open' then newest = math.max(newest, number(storm.signals_last)) end
  if lowest <= newest or redis.call('ZADD', ids_key, 'NX', unpack(ARGV, ids_at, last)) < m then
    -- @include known_signals
    if m > 1 then
      if lowest > newest then forget_new(ids_at, last, ids_key) end
      return nil, nil, true
    end
    local fate = fate_of_signal(storm, ARGV[ids_at], ARGV[last], ids_key)
    if fate ~= nil then return nil, { fate } end
    redis.call('ZADD', ids_key, ARGV[ids_at], ARGV[last])
  end
  local firing = number(ARGV[first + 3])
  return {
    signals = m, changes = 0, highest = number(ARGV[first + 2]),
    firing = firing, resolving = firing < m, severity = number(ARGV[first + 4]),
    first_ms = number(ARGV[first + 5]), last_ms = number(ARGV[first + 6]),
    prefix = ARGV[first + 7], storm_prefix = ARGV[first + 7],
    resources = ARGV, resources_at = first + 10, r = r,
    weights = w > 0 and ARGV, weights_at = first + 10 + r, members = ARGV, from = members_at, to = ids_at - 1,
  }
end
