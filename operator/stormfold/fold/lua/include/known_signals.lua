-- What became of a Signal that is known: the `folded` at which the request holds it, 0 if an earlier one
-- does, false if it was discarded; nil if it is new. An edit raises its version; the one that it was counted
-- by says in which storm.
local function fate_of_signal(storm, minus_version, id, ids_key)
  read_rest(storm) -- its floor, and what is told of those that were discarded
  local score = tonumber(redis.call('ZSCORE', ids_key, id) or nil)
  if score and score > 0 then return false end
  local floor = math.max(signals_trimmed, number(storm.signals_floor))
  if -tonumber(minus_version) <= floor then return 0 end
  if not score then return nil end
  return -score > floor and storm.state == 'open' and folded_of(storm) or 0
end

-- Takes back the ids of a sum that were noted just now: those with their own version.
local function forget_new(first, last, ids_key)
  local ids, new = {}, {}
  for a = first + 1, last, 2 do ids[#ids + 1] = ARGV[a] end
  for n, score in ipairs(redis.call('ZMSCORE', ids_key, unpack(ids))) do
    if tonumber(score) == number(ARGV[first + 2 * n - 2]) then new[#new + 1] = ids[n] end
  end
  if #new > 0 then redis.call('ZREM', ids_key, unpack(new)) end
end
