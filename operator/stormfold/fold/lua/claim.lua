#!lua flags=allow-oom
--[[
  Take storms that are due and hide them from other replicas for a while.

  KEYS[1]  due        zset  sf:2:{p<n>}:due; member group hash, score Unix ms
  KEYS[2]  storm      hash  sf:2:{p<n>}:storm:<group hash>; see keys.py
  KEYS[3]  resources  hash  sf:2:{p<n>}:resources:<group hash>
  KEYS[4]  hll        HyperLogLog  sf:2:{p<n>}:hll:<group hash>
  KEYS[5]  instances  set  sf:2:{p<n>}:instances:<group hash>
  KEYS[6]  opening    string  sf:2:{p<n>}:opening:<group hash>
  KEYS[7]  alerts     hash  sf:2:{p<n>}:alerts:<group hash>
  KEYS[8]  evidence   hash  sf:2:{p<n>}:evidence:<group hash>
  KEYS[9]  names      hash  sf:2:{p<n>}:names:<group hash>
           KEYS[2] … KEYS[9] come once more for each further storm
  ARGV[1]  now, Unix ms, the caller's clock
  ARGV[2]  for how long they are hidden, ms
  ARGV[3]  who claims
  ARGV[4]  group hash
  ARGV[5]  1 if all its alerts are wanted, since no request is there; and so on, two for each storm

  Returns     per storm {resources by HyperLogLog, instances, alerts, opening, {field, value, …}, {listed
              resource, signals, …}, {evidence, what it is, …}, {name, signals, …}, {alert, what is
              known of it, …}}, the last nil if the request holds it, unless it is wanted; or {} if another
              replica has it, it is not due, or it is gone
  Guarantees  what is not acknowledged for ARGV[2] is due again, so the caller may die; a storm that has no
              request is noted as claimed by the first of those who work on it; O(fields) per storm, and
              O(alerts) where some may have become stale: see stale.lua
]]
local due_key = KEYS[1]
local now, hidden, claimer = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
-- @include snapshot
-- @include claims

-- Notes who makes the request of a storm: nobody else discards it meanwhile, see close.lua.
local function note_claimer(storm, by, until_ms)
  local is_valid, server_ms = claim_is_valid(until_ms, hidden)
  if by == claimer or not is_valid then
    redis.call('HSET', storm, 'claimed_by', claimer, 'claimed_ms', server_ms + hidden)
  end
end

local claimed = {}
for i = 4, #ARGV, 2 do
  local group_hash, k = ARGV[i], 2 + (i - 4) * 4
  local storm = KEYS[k]
  local score = redis.call('ZSCORE', due_key, group_hash)
  local snapshot = {}
  if score and tonumber(score) <= now then
    local found = redis.call(
      'HMGET', storm, 'state', 'written', 'alerts_firing', 'stale_look_ms', 'claimed_by', 'claimed_ms'
    )
    local state, written = found[1], tonumber(found[2] or 0)
    local firing, stale_look = tonumber(found[3] or 0), tonumber(found[4] or 0)
    if not state or state == 'closed' then
      redis.call('ZREM', due_key, group_hash)
    else
      if written == 0 then note_claimer(storm, found[5], found[6]) end
      if state == 'open' and firing > 0 and stale_look <= now then
        -- @include storm
        -- @include alert
        -- @include stale
        mark_stale(read_whole(storm), KEYS[k + 5])
      end
      redis.call('ZADD', due_key, now + hidden, group_hash)
      snapshot = { snapshot_of(ARGV[i + 1] == '1', unpack(KEYS, k, k + 7)) }
    end
  end
  claimed[#claimed + 1] = snapshot
end
return claimed
