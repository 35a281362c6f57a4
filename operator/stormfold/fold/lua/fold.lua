#!lua
--[[
  Count signals into the storms of one partition, each signal once.

  KEYS[1]  checkpoint  hash  sf:2:{p<n>}:checkpoint; field signals, value resourceVersion
  KEYS[2]  due         zset  sf:2:{p<n>}:due; member group hash, score Unix ms
  KEYS[3]  storm       hash  sf:2:{p<n>}:storm:<group hash>; its fields are listed in keys.py
  KEYS[4]  resources   hash  sf:2:{p<n>}:resources:<group hash>; see resources.lua
  KEYS[5]  ids         zset  sf:2:{p<n>}:ids:<group hash>; member id of a Signal, score resourceVersion
  KEYS[6]  hll         HyperLogLog  sf:2:{p<n>}:hll:<group hash>
  KEYS[7]  instances   set   sf:2:{p<n>}:instances:<group hash>; 2i + 1 for firing, 2i for resolved
  KEYS[8]  opening     string  sf:2:{p<n>}:opening:<group hash>
  KEYS[9]  events      hash  sf:2:{p<n>}:events:<group hash>; how often each Event has occurred
  KEYS[10]  alerts     hash  sf:2:{p<n>}:alerts:<group hash>; the storm's alerts, see alert.lua
  KEYS[11]  before     hash  sf:2:{p<n>}:before:<group hash>; those of the request before, and discarded ones
  KEYS[12]  beyond     bitmap  sf:2:{p<n>}:beyond:<group hash>; those without room: see beyond.lua
  KEYS[13]  evidence   hash  sf:2:{p<n>}:evidence:<group hash>; what its signals show, see evidence.lua
  KEYS[14]  names      hash  sf:2:{p<n>}:names:<group hash>; how often each name has come, see names.lua
            KEYS[3] … KEYS[14] come once more for each further piece; several may be of one storm
  ARGV[1]  now, Unix ms, the caller's clock
  ARGV[2]  beginning of the incarnation of the storms that open or are continued now; its end names the server
  ARGV[3]  how many pieces follow; for each of them:
           group hash, known epoch (0 for none), known folded, known incarnation, incarnation not to be
           trusted or '', kind of its signals: signals, alerts, events or reopening (see reopening.lua); how
           many arguments follow of each of these four:
           * what a storm opens with, if none is known: the opening, and field and value of each of its terms
           * the seed, if there is one: epoch, folded, incarnation:folded of a closed request or '', how many
             arguments follow for the storm, for its resources, its alerts and its names; then these, field
             and value …
           * the signals: how many m, and for each kind
             signals: lowest and highest resourceVersion, how many fire, highest severity 0…4, first and last
               seen ms; what its resources begin with, r, w and the rests of r resources, w numbers of signals
               about each, where w is r, or 0 if it is one each; i and i instances, each twice its number and
               1 more if it fires in the end; m times minus the
               resourceVersion and id, no id twice
             alerts: a prefix for the list of resources; m times id, start in s, 1 if it fires, end in s (0
               if it fires), how many alerts its sender has left out, severity, seen ms, resource or ''
             events: the prefix; m times resourceVersion, id, occurrences up to which it is counted,
               occurrences, severity, seen ms of the latest, ms between the first and that, resource or '',
               instance
           * what they show, if that is wanted: n, s, and what causes.lua takes; n times a field and what is
             joined to it; s times a place 1 … m and its sample; k and k names; how many signals have each, or
             which each has

  Returns     per piece {word, epoch, folded, open 0|1|2|3|4, next deadline in Unix ms or 0, folded that the
              request holds, incarnation or '', what was last told of a group that was discarded, ordinal of
              each signal …}, of a sum that is all new only the first; ordinal 0: it was durable before;
              nil: it was discarded. Open is 2, 3 or 4 if no request is to be made so far: nothing of the
              group fires, it is below its threshold and would be discarded, or its groupWait is long
              'counted'  the storm holds the signals
              'apart'    some of several Signals may be known, or are those of a piece before: nothing was
                         counted, send each as a piece of its own, in order
              'lost'     Redis knows less than the caller, or the storm was counted by another server, such as
                         the one before a fail-over, of which this one may lack the last words, or the storm
                         that the caller knows is closed: send it all again, with a seed
              'closing'  the storm is being closed: nothing was counted, try again
  Guarantees  atomic for all pieces; a Signal is counted once while its id is kept, and never if its
              resourceVersion is not above the checkpoint or the storm's floor; an alert and an Event once
              while they are known; the work per signal does not grow with the storm
]]
local checkpoint_key, due_key = KEYS[1], KEYS[2]
local now, looks = ARGV[1] + 0, {} -- looks: when to look at the storms that have grown: score, group hash

-- A call makes its functions anew: those of a part that few calls need are made where it is included. Each
-- local variable that a function uses costs more then than a global that it looks up.
-- @include server
local incarnation = ARGV[2] .. server
-- @include storm
-- @include alert
-- @include signals
-- @include counting
-- @include openness

local losses, others, evidence
local function made_for_losses()
  -- @include losses
  return { is_behind = is_behind, void_discards = void_discards, drop = drop, continue = continue }
end
local function made_for_evidence()
  -- @include evidence
  return { take = take_evidence }
end
local function made_for_others()
  -- @include tally
  -- @include alert_counts
  -- @include alerts
  -- @include events
  -- @include reopening
  return {
    alerts = { read = read_alerts, count = count_alerts, remember = remember_alerts },
    events = { read = read_events, remember = remember_events },
    reopening = { read = read_reopening },
  }
end

local function reply_of(word, storm, due, ordinals)
  return {
    word, number(storm.epoch), folded_of(storm), open_of(storm), due, number(storm.written),
    storm.incarnation or '', storm.discarded_as or '', unpack(ordinals),
  }
end

-- The storm as it is to be counted into, replaced by the seed if that is to be; nothing if Redis has lost it.
local function storm_for(keys, at, kind, seed_at, has_seed)
  local is_plain = kind == 'signals' and not has_seed
  local read = is_plain and read_storm or read_whole
  local storm = read(keys.storm)
  local known_epoch, known_incarnation = number(ARGV[at + 1]), ARGV[at + 3]
  local ours = storm and is_ours(storm)
  if known_epoch > 0 then
    -- What the caller holds of a storm that is closed goes first, or what comes now would raise the floor
    -- above that.
    if not ours or storm.state == 'closed' then return nil end
    local epoch = number(storm.epoch)
    if epoch < known_epoch then return nil end
    if epoch == known_epoch and folded_of(storm) < number(ARGV[at + 2]) then return nil end
    if known_incarnation ~= '' and known_incarnation ~= storm.incarnation then return nil end
  end
  -- What has been read is all that a sum of new Signals needs of a storm that has reached its threshold.
  local is_going_on = ours and storm.state == 'open' and storm.detected and storm.settled ~= '1'
  if is_plain and is_going_on then return storm end
  if is_plain and storm then read_rest(storm) end
  local foreign = storm and storm.state ~= 'closed' and not ours
  local others_discard = storm and storm.discarded_by and storm.discarded_by ~= server
  if foreign or has_seed or others_discard then losses = losses or made_for_losses() end
  if others_discard then losses.void_discards(storm, keys) end
  if foreign and not has_seed then storm = losses.drop(storm, ARGV[at], keys) end
  if has_seed then
    local wrong = foreign or (storm and storm.state ~= 'closed' and storm.incarnation == ARGV[at + 4])
    local before = kind == 'reopening' and keys.before
    if wrong or losses.is_behind(storm, number(ARGV[seed_at]), number(ARGV[seed_at + 1]), before) then
      return losses.continue(storm, ARGV[at], seed_at, ARGV[at + 10], keys)
    end
  end
  if storm then return storm end
  redis.call('DEL', keys.resources, keys.ids, keys.hll, keys.instances, keys.events, keys.alerts, keys.before)
  redis.call('DEL', keys.beyond, keys.evidence, keys.names)
  return new_storm(keys.storm)
end

local apart_of = {} -- group hash → what was said of a piece; those behind it must not be counted before it
local function fold_piece(keys, at)
  local group_hash, kind = ARGV[at], ARGV[at + 5]
  if apart_of[group_hash] then return apart_of[group_hash] end
  local opens, seeds = number(ARGV[at + 6]), number(ARGV[at + 7])
  local opens_at = at + 10
  local seed_at = opens_at + opens
  local first = seed_at + seeds
  local shown_at = first + number(ARGV[at + 8])
  local storm = storm_for(keys, at, kind, seed_at, seeds > 0)
  if not storm then return { 'lost', 0, 0, 0, 0, 0, '', '' } end
  if storm.state == 'closing' then return reply_of('closing', storm, 0, {}) end
  local tally, ordinals, apart, known
  if kind == 'signals' then
    tally, ordinals, apart = read_signals(storm, first, keys.ids)
    if apart then
      apart_of[group_hash] = reply_of('apart', storm, 0, {})
      return apart_of[group_hash]
    end
  else
    others = others or made_for_others()
    tally, ordinals, known = others[kind].read(storm, first, keys)
  end
  local due = seeds > 0 and storm.state == 'open' and now or 0
  if tally then
    local terms_at, terms_to = 1, 0
    if storm.state == 'closed' then
      -- @include opening
      terms_at, terms_to = open_next(storm, keys, opens_at, opens, known or { here = {}, before = {} })
    end
    ordinals = ordinals or { folded_of(storm) + 1 }
    if tally.alerts then others.alerts.count(storm, tally) end
    count(storm, tally, keys)
    if number(ARGV[at + 9]) > 0 then
      evidence = evidence or made_for_evidence()
      evidence.take(storm, tally, shown_at, keys.evidence, keys.names)
    end
    for a = terms_at, terms_to, 2 do put(storm, ARGV[a], ARGV[a + 1]) end
    write_storm(storm)
    due = next_due(storm)
    looks[#looks + 1], looks[#looks + 2] = due, group_hash
  end
  if known then others[kind].remember(known, storm, keys) end
  return reply_of('counted', storm, due, ordinals)
end

local replies, at = {}, 4
for n = 1, ARGV[3] do
  local k = 3 + (n - 1) * 12
  local keys = {
    storm = KEYS[k], resources = KEYS[k + 1], ids = KEYS[k + 2], hll = KEYS[k + 3], instances = KEYS[k + 4],
    opening = KEYS[k + 5], events = KEYS[k + 6], alerts = KEYS[k + 7], before = KEYS[k + 8],
    beyond = KEYS[k + 9], evidence = KEYS[k + 10], names = KEYS[k + 11],
  }
  replies[n] = fold_piece(keys, at)
  for of = at + 6, at + 9 do at = at + number(ARGV[of]) end
  at = at + 10
end
if #looks > 0 then redis.call('ZADD', due_key, 'LT', unpack(looks)) end
return replies
