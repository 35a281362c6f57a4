#!lua
--[[
  Count a batch of signals into the storms of one partition, each signal once.

  KEYS[1]  checkpoint  hash  sf:{p<n>}:checkpoint; field signals, value resourceVersion
  KEYS[2]  due         zset  sf:{p<n>}:due; member group_hash, score Unix ms
  KEYS[3]  storm       string  sf:{p<n>}:storm:<group_hash>; a map in MessagePack, its fields are listed in keys.py
  KEYS[4]  ids         zset  sf:{p<n>}:ids:<group_hash>; member id of a Signal, score resourceVersion
  KEYS[5]  hll         HyperLogLog  sf:{p<n>}:hll:<group_hash>
  KEYS[6]  instances   set   sf:{p<n>}:instances:<group_hash>; 2i + 1 for firing, 2i for resolved
  KEYS[7]  opening     string  sf:{p<n>}:opening:<group_hash>
  KEYS[8]  counted     hash  sf:{p<n>}:counted:<group_hash>; alerts and Events, see keys.py
  KEYS[9]  beyond      HyperLogLog  sf:{p<n>}:beyond:<group_hash>; alerts that do not fit in there
           KEYS[3] … KEYS[9] come once more for each further storm
  ARGV[1]  now, Unix ms, the caller's clock
  ARGV[2]  beginning of the incarnation of the storms that open or are continued now; its end names the server
  ARGV[3]  how many storms follow; for each of them:
           group_hash, terms, opening, known epoch, known folded, known incarnation (the last '' for none),
           incarnation not to be trusted or '', what the storm must be continued from ('' for nothing) if
           the caller is to be sure of its alerts, seed epoch, seed folded, the seed: a storm in JSON, or '',
           how many arguments follow for its signals: m, k, and for each of m signals if k is 0:
           version, id, flags, severity 0…4, seen ms, resource or '', instance, '' of an alert. By the flags it is
             0 | 1             a Signal, resolved or firing; version is its resourceVersion
             a0 … a3           an alert, the sum of 1 firing, 2 surely not counted; version is its start in ms.
                               Behind a comma may follow how many alerts its sender has left out of the post: a1,7
             e<after>,<count>,<span>  occurrences of an Event; version is its resourceVersion, span
                               the ms between its first occurrence and its latest, which is what was seen
           Where all are Signals, no two with the same id, there may be their sum; then k is 1, and follow:
             the lowest version and the highest;
             how many fire, highest severity, first seen ms, last seen ms;
             what its resources begin with, r, w and the rests of r resources, then w numbers of signals about each,
             where w is r, or 0 if it is one each;
             i and i instances, each twice its number and 1 more if it fires in the end;
             m times version and id;
             JSON of five arrays with m values each: fires, severity, seen ms, place of its resource from 1
             on or 0 for none, place of its instance from 1 on

  Returns     per storm {word, epoch, folded, open 0|1, next deadline in Unix ms or 0, folded that the
              request holds, incarnation or '', what was last told of a group that was discarded, ordinal
              of each signal …}, of a sum that is all new only the first; ordinal 0: it was durable before; below 0: an
              alert that may have been counted before; nil: it was discarded
              'counted'  the storm holds the signals
              'lost'     Redis knows less than the caller, or the storm was counted by another server, such as
                         the one before a fail-over, of which this one may lack the last words, or the
                         storm that the caller knows is closed: send it all again, with a seed
              'closing'  the storm is being closed: nothing was counted, try again
  Guarantees  atomic for the batch; a Signal is counted once while its id is kept, and never if its
              resourceVersion is not above the checkpoint or the storm's floor; an alert and an Event
              once while they are in `counted`; the work per signal does not grow with the storm
]]
-- A global costs a look into a table at each use, and these are used for each signal.
local redis, string, math, table, cmsgpack, ARGV, KEYS = redis, string, math, table, cmsgpack, ARGV, KEYS
local tonumber, type, unpack, pairs, ipairs = tonumber, type, unpack, pairs, ipairs
local checkpoint_key, due_key = KEYS[1], KEYS[2]
local now, storms = tonumber(ARGV[1]), tonumber(ARGV[3])

local SERVER_CHARACTERS = 4
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
server = string.sub(server, 1, SERVER_CHARACTERS)
local incarnation = ARGV[2] .. server

local WRITE_INTERVAL_MS = 1000
local MAX_INSTANCES = 512 -- what a set keeps as packed integers
local MAX_COUNTED = 4096 -- alerts and Events of a group that are known one by one
local MINUTE_MS = 60000
local FRESH_MS = 5000 -- an Event that happened less than this ago counts as one of now: its time has whole seconds
local MAX_STARTS = 3 -- of an alert, so that they fit in a packed value
local BASE_BYTES = 64 -- so many that one character says how many of them are shared
local COUNTED_SECONDS = 86400 -- how long a closed storm's alerts are known after the last repeat of one
local FLOORS = { fl = 'p', fle = 'pe' } -- fields of a storm: the floor of a stream, and how far it is counted
local ALERT, EVENT, FIRING, RESOLVED = string.byte('a'), string.byte('e'), string.byte('1'), string.byte('r')
local ZERO = string.byte('0')

local at = 4 -- the next argument to read
local signal_args = ARGV -- where the signals of a storm are, seven values each

local function number(text) return tonumber(text or '0') or 0 end

-- A storm is one string: to read and to write all of it is cheaper than to look for some fields in a hash.
local function storm_at(key)
  local packed = redis.call('GET', key)
  return packed and cmsgpack.unpack(packed) or nil
end

local function keep(key, map) redis.call('SET', key, cmsgpack.pack(map)) end

local checkpoint
-- At or below it nothing is counted: all of it is durable, or in an earlier request of the group.
local function floor_of(map)
  checkpoint = checkpoint or tonumber(redis.call('HGET', checkpoint_key, 'signals') or '0')
  return math.max(checkpoint, map.fl or 0)
end

local function folded_of(map) return (map.t or 0) + (map.n or 0) end

local function behind(map, epoch, folded)
  if not map then return true end
  return map.e < epoch or (map.e == epoch and map.s ~= 'c' and folded_of(map) < folded)
end

-- The largest n up to the given one at which the text may be cut: Python must be able to read both pieces as UTF-8.
local function cut(text, n)
  while n > 0 and n < #text and string.byte(text, n + 1) >= 128 and string.byte(text, n + 1) < 192 do n = n - 1 end
  return n
end

local function base_of(resource) return string.sub(resource, 1, cut(resource, BASE_BYTES)) end

-- How many bytes a text has in common with the storm's base, n at least; whole characters of them.
local function shared_with(text, base, n)
  local most = math.min(#text, #base)
  while n < most do
    local middle = math.ceil((n + most) / 2)
    if string.sub(text, 1, middle) == string.sub(base, 1, middle) then n = middle else most = middle - 1 end
  end
  return cut(text, n)
end

-- A listed resource is kept without what it has in common with the storm's base: how much that is, and the rest.
local function field_of(resource, base, n)
  n = shared_with(resource, base, n)
  return string.char(32 + n) .. string.sub(resource, n + 1)
end

local function resource_of(field, base)
  return string.sub(base, 1, string.byte(field) - 32) .. string.sub(field, 2)
end

-- What became of a start: it is in the storm `opening`, or in an earlier one that has a request, or was discarded.
local HERE, BEFORE, DISCARDED = '', 'c', 'd'

local function alert_of(text)
  if not text then return { starts = {}, fates = {} } end
  local alert = { state = string.sub(text, 1, 1), opening = tonumber(string.match(text, '^%a(%d+)')), starts = {}, fates = {} }
  for start, fate in string.gmatch(text, ',(-?%d+)([cd]?)') do
    alert.starts[#alert.starts + 1] = tonumber(start)
    alert.fates[#alert.fates + 1] = fate
  end
  return alert
end

local function text_of(alert)
  local parts = { string.format('%s%.0f', alert.state, alert.opening) }
  for i, start in ipairs(alert.starts) do parts[i + 1] = string.format('%.0f%s', start, alert.fates[i]) end
  return table.concat(parts, ',')
end

local function fate_of(fate, alert_opening, opening)
  return (fate == HERE and alert_opening ~= opening) and BEFORE or fate
end

-- What became of the latest start, if a report says nothing more of it: what `note_report` would find, for less.
local function fate_of_latest(text, start, fires, opening)
  local from, latest, fate = string.match(text, '^%a(%d+),(-?%d+)([cd]?)')
  if latest ~= start then return nil end
  fate = fate_of(fate, tonumber(from), opening)
  return (fires or fate == DISCARDED or string.byte(text) == RESOLVED) and fate or nil
end

-- Notes one report of an alert. 'instance' is new, 'older' is new but not the latest of its alert, 'resolution' is the
-- end of one that the storm counts as firing; nil changes nothing in the storm. Then comes what the storm counted the
-- alert as before, 'f' or 'r', or nil; or, behind nil, what had become of its start.
local function note_report(alert, start, fires, opening)
  local starts, fates, state = alert.starts, alert.fates, fires and 'f' or 'r'
  for i, known in ipairs(starts) do
    if known == start then
      local fate = fate_of(fates[i], alert.opening, opening)
      if i > 1 or fires or alert.state == 'r' or fate == DISCARDED then return nil, fate end
      alert.state, alert.changed = 'r', true
      if alert.opening == opening then return 'resolution', 'f' end
      return nil, fate
    end
  end
  if #starts == MAX_STARTS and start < starts[MAX_STARTS] then return nil, BEFORE end
  local place = 1
  while starts[place] and starts[place] > start do place = place + 1 end
  for i, fate in ipairs(fates) do fates[i] = fate_of(fate, alert.opening, opening) end
  table.insert(starts, place, start)
  -- Which storm has an older start than that of another storm is not known from then on.
  table.insert(fates, place, (place > 1 and alert.opening ~= opening) and BEFORE or HERE)
  starts[MAX_STARTS + 1], fates[MAX_STARTS + 1] = nil, nil
  alert.changed = true
  if place > 1 then return 'older' end
  local before = alert.opening == opening and alert.state or nil
  alert.state, alert.opening = state, opening
  return 'instance', before
end

-- What is known one by one of the alerts and Events with these ids, and what is to be known from now on.
local function known_of(ids, counted_key)
  local known = { size = redis.call('HLEN', counted_key), values = {}, alerts = {}, events = {} }
  for i, value in ipairs(redis.call('HMGET', counted_key, unpack(ids))) do known.values[ids[i]] = value end
  return known
end

-- Whether there is room to know it.
local function takes(known, id)
  if known.values[id] or known.events[id] then return true end
  if known.size >= MAX_COUNTED then return false end
  known.size = known.size + 1
  return true
end

local function judge_alert(map, known, a, opening, basis)
  local id, flags, start = signal_args[a + 1], string.byte(signal_args[a + 2], 2) - ZERO, tonumber(signal_args[a])
  -- What the caller is sure of holds for one request: another replica may have continued the storm from a later one.
  local fires, sure = flags % 2 == 1, flags >= 2 and basis == (map.s == 'o' and map.og or '')
  local maybe = not sure and start <= (map.la or 0)
  local alert, text = known.alerts[id], known.values[id]
  if not alert then
    local fate = text and fate_of_latest(text, signal_args[a], fires, opening)
    if fate then return nil, fate end
    if not takes(known, id) then return { a = a, what = 'beyond', fires = fires, maybe = maybe } end
    alert = alert_of(text)
    known.alerts[id] = alert
  end
  local what, before = note_report(alert, start, fires, opening)
  if not what then return nil, before end
  return { a = a, what = what, fires = fires, before = before, maybe = maybe and what ~= 'resolution' }
end

-- That a sender has left more alerts out of a post than the storm knows of is news, be its alerts known or not; what
-- was found of one of them says it, or `fate` says that the storm has counted it.
local function with_left_out(map, known, a, found, fate)
  local flags = signal_args[a + 2]
  if #flags == 2 or (not found and fate ~= HERE) then return found end
  local left_out = tonumber(string.sub(flags, 4))
  if left_out <= (known.left_out or (map.s == 'o' and map.lo) or 0) then return found end
  known.left_out = left_out
  found = found or { a = a, what = 'left-out', fires = true, weight = 0 }
  found.left_out = left_out
  return found
end

local function judge_event(map, known, a)
  local id = signal_args[a + 1]
  local after, occurred, span = string.match(signal_args[a + 2], '^e(%d+),(%d+),(%d+)$')
  local before = math.max(tonumber(after), number(known.events[id] or known.values[id] or nil))
  local weight = tonumber(occurred) - before
  if weight <= 0 then return nil end
  if takes(known, id) then known.events[id] = occurred end
  -- The request has counted it so often: of its next arrival only what is more is new.
  if tonumber(signal_args[a]) <= (map.fle or 0) then return nil end
  -- Of further occurrences it is not known when they were, but of the latest.
  span = before == 0 and tonumber(span) or 0
  return { a = a, what = 'event', fires = true, weight = weight, span = span }
end

-- Reads m signals of one storm from the place `first` on; if they are `noted`, the ids of the new ones are in the set
-- already, each with its own version. Gives those that nobody has counted, a number for a Signal and a table for
-- the others; the ordinals so far, of which those below 0 say which of them it is and false that it was discarded; what
-- is known one by one; and the places of alerts that were counted before: their ordinals say only by when they were.
local function read_signals(map, basis, m, first, noted, ids_key, counted_key)
  local new, ordinals, repeats = {}, {}, {}
  local signals, others, place = {}, {}, {}
  for i = 1, m do
    local a = first + (i - 1) * 7
    local kind = string.byte(signal_args[a + 2])
    local members = (kind == ALERT or kind == EVENT) and others or signals
    members[#members + 1] = signal_args[a + 1]
    place[i] = #members
  end
  local known = #others > 0 and known_of(others, counted_key) or nil
  local scores = #signals > 0 and redis.call('ZMSCORE', ids_key, unpack(signals)) or {}
  local floor = #signals > 0 and floor_of(map)
  local before = map.s == 'o' and folded_of(map) or 0
  local opening = map.s == 'o' and map.o or now
  local seen = {}
  for i = 1, m do
    local a = first + (i - 1) * 7
    local kind = string.byte(signal_args[a + 2])
    if kind == ALERT or kind == EVENT then
      local found, fate
      if kind == ALERT then
        found, fate = judge_alert(map, known, a, opening, basis)
        found = with_left_out(map, known, a, found, fate)
      else
        found = judge_event(map, known, a)
      end
      if found then
        new[#new + 1] = found
        ordinals[i] = -#new
        -- Of the alert whose end is counted now, the beginning was counted before.
        if found.what == 'resolution' or found.what == 'left-out' then repeats[#repeats + 1] = i end
      elseif fate == DISCARDED then
        ordinals[i] = false
      elseif fate == BEFORE then
        ordinals[i] = 0
      else
        ordinals[i] = #new > 0 and -#new or before
        if kind == ALERT then repeats[#repeats + 1] = i end
      end
    elseif number(scores[place[i]]) < 0 then
      ordinals[i] = false
    else
      if tonumber(signal_args[a]) <= floor then
        ordinals[i] = 0
      elseif scores[place[i]] and not (noted and tonumber(scores[place[i]]) == tonumber(signal_args[a])) then
        -- An edit has raised its resourceVersion; the one that it was counted by says in which storm.
        ordinals[i] = tonumber(scores[place[i]]) > floor and before or 0
      else
        local id = signal_args[a + 1]
        if not seen[id] then
          new[#new + 1] = a
          seen[id] = -#new
        end
        ordinals[i] = seen[id]
      end
    end
  end
  return new, ordinals, known, repeats
end

local function open_next(map, terms)
  local opened = {
    e = map.e + 1, s = 'o', g = incarnation, o = now, k = terms, la = map.la, ls = map.ls, ds = map.ds, dr = map.dr, rs = {},
  }
  -- What is counted says at least the floor: a storm of alerts alone must leave it to the next one.
  for floor, counted in pairs(FLOORS) do opened[floor], opened[counted] = map[floor], map[floor] end
  return opened
end

local function window_of(map) return map.ws or map.o end

-- The same as below for less, where all of them fire and there is room for each to be named.
local function count_firing(map, tally, instances_key)
  local members, from, to = tally.members, tally.from, tally.to
  if (map.r or 0) > 0 then
    local resolved = {}
    for n = from, to do resolved[#resolved + 1] = members[n] - 1 end
    map.r = map.r - redis.call('SREM', instances_key, unpack(resolved))
  end
  map.f = (map.f or 0) + redis.call('SADD', instances_key, unpack(members, from, to))
end

-- What each instance says last counts; an instance beyond MAX_INSTANCES is only estimated.
local function count_instances(map, tally, instances_key)
  local members, from, to = tally.members, tally.from, tally.to
  if to < from then return end
  local f, r, xf, xr = map.f or 0, map.r or 0, map.xf or 0, map.xr or 0
  if not tally.resolving and f + r + to - from + 1 <= MAX_INSTANCES then
    return count_firing(map, tally, instances_key)
  end
  local order, last = {}, {}
  for n = from, to do
    local member = tonumber(members[n])
    local i = math.floor(member / 2)
    order[#order + 1] = i
    last[i] = member % 2 == 1
  end
  local probe = {}
  for _, i in ipairs(order) do
    probe[#probe + 1] = i * 2
    probe[#probe + 1] = i * 2 + 1
  end
  local held = redis.call('SMISMEMBER', instances_key, unpack(probe))
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
      elseif not was_resolved and xf > (map.xa or 0) then
        xf = xf - 1 -- one of those that fired unnamed, and are no alerts
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
  map.f, map.r, map.xf, map.xr = f, r, xf, xr
end

-- The alerts that fire and that are resolved, by the latest start of each.
local function count_alert(map, alert)
  if alert.left_out then map.lo = alert.left_out end
  if alert.what == 'left-out' then return end
  local af, ar, xf, xr, xa = map.af or 0, map.ar or 0, map.xf or 0, map.xr or 0, map.xa or 0
  -- One of the alerts that fired unnamed does no more, or is known by now.
  local function named() if xa > 0 then xf, xa = xf - 1, xa - 1 end end
  if alert.what ~= 'resolution' then
    map.na = (map.na or 0) + alert.weight
    map.ls = math.max(map.ls or 0, tonumber(signal_args[alert.a]))
  end
  if alert.maybe then
    map.mb = (map.mb or 0) + alert.weight
    named()
  end
  if alert.what == 'beyond' then
    map.ab = 1
    if alert.fires then
      xf, xa = xf + alert.weight, xa + alert.weight
    else
      named()
      xr = xr + 1
    end
  elseif alert.what ~= 'older' then
    if alert.before == 'f' then af = af - 1 end
    if alert.before == 'r' then ar = ar - 1 end
    if alert.what == 'instance' and alert.fires then af = af + 1 else ar = ar + 1 end
  end
  map.af, map.ar, map.xf, map.xr = af, ar, xf, xr
  map.xa = xa > 0 and xa or nil
end

-- How many of the alerts that are not known one by one are new, by a HyperLogLog, is spread over them from the first on.
local function weigh(new, beyond_key)
  local beyond, ids = {}, {}
  for _, item in ipairs(new) do
    if type(item) == 'table' then
      if item.what == 'beyond' then
        beyond[#beyond + 1] = item
        ids[#ids + 1] = signal_args[item.a + 1] .. ',' .. signal_args[item.a]
      else
        item.weight = item.weight or (item.what == 'resolution' and 0 or 1)
      end
    end
  end
  if #beyond == 0 then return end
  local before = redis.call('PFCOUNT', beyond_key)
  redis.call('PFADD', beyond_key, unpack(ids))
  local more = redis.call('PFCOUNT', beyond_key) - before
  for _, item in ipairs(beyond) do
    item.weight = more > 0 and 1 or 0
    more = more - 1
  end
end

local function count_rate(map, time, n)
  local minute = math.floor(time / MINUTE_MS) - math.floor(map.o / MINUTE_MS)
  local latest = map.m or 0
  if minute > latest then
    map.c1 = latest == minute - 1 and map.c0 or nil
    map.c0, map.m = n, minute
  elseif minute == latest then
    map.c0 = (map.c0 or 0) + n
  elseif minute == latest - 1 then
    map.c1 = (map.c1 or 0) + n
  end
end

-- When an Event counts, which says when it happened. All else counts when it comes.
local function time_of(seen) return seen < now - FRESH_MS and seen or now end

-- How many occurrences of an Event were within some ms before its latest: they are taken as evenly spread.
local function lately(happened, ms)
  if happened.span <= ms then return happened.weight end
  return 1 + math.floor((happened.weight - 1) * ms / happened.span)
end

local function threshold_reached(map, most, limits, hll_key)
  if most >= limits[1] then return 's' end
  -- As many resources cannot be affected within the window by fewer signals.
  if limits[2] == 0 or most < limits[2] then return nil end
  local resources = map.rc or 0
  if map.tr then resources = math.max(resources, map.hb or 0, redis.call('PFCOUNT', hll_key)) end
  return resources >= limits[2] and 'r' or nil
end

local function next_due(map, limits)
  if (map.w or 0) > 0 then return math.max(now, (map.lw or 0) + WRITE_INTERVAL_MS) end
  if (map.nf or 0) > 0 then
    if map.d then return now end
    if limits[5] == 0 then return map.o + limits[4] end
  end
  return math.max(window_of(map), map.o) + limits[3]
end

-- Notes how far a stream is counted, in the field of that.
local function reach(map, last, highest) map[last] = math.max(map[last] or 0, tonumber(highest)) end

-- The numbers in the terms of a policy, which most storms of a batch share.
local read_terms = {}
local function limits_of(terms)
  local limits = read_terms[terms]
  if not limits then
    limits = {}
    for part in string.gmatch(terms, '%d+') do limits[#limits + 1] = tonumber(part) end
    read_terms[terms] = limits
  end
  return limits
end

-- Sums up what is new; makes ordinals of the numbers below 0.
local function tally_of(map, new, ordinals, ids_key, beyond_key)
  weigh(new, beyond_key)
  local last, order, ids, resolving = {}, {}, {}, false
  local resources, weights, place_of = {}, {}, {}
  local firing, severity = 0, 0
  local first_ms, last_ms
  local happened = {}
  local total, others, places = map.t or 0, map.n or 0, {}
  for place, item in ipairs(new) do
    local a, weight, fires, by_instance, maybe = item, 1, nil, true, false
    if type(item) == 'table' then
      a, weight, fires, maybe = item.a, item.weight, item.fires, item.maybe
      by_instance = item.what == 'event'
      if by_instance then
        reach(map, 'pe', signal_args[a])
        happened[#happened + 1] = item
        item.time = time_of(tonumber(signal_args[a + 4]))
      else
        count_alert(map, item)
      end
    else
      local flags = signal_args[a + 2]
      ids[#ids + 1], ids[#ids + 2] = signal_args[a], signal_args[a + 1]
      reach(map, 'p', signal_args[a])
      fires = string.byte(flags) == FIRING
    end
    total = total + weight
    if weight == 0 then others = others + 1 end
    places[place] = total + others
    if maybe then places[place] = -places[place] end
    if fires then firing = firing + weight else resolving = true end
    severity = math.max(severity, tonumber(signal_args[a + 3]))
    local seen = tonumber(signal_args[a + 4])
    local began = seen - (type(item) == 'table' and item.span or 0)
    first_ms, last_ms = math.min(first_ms or began, began), math.max(last_ms or seen, seen)
    local resource = signal_args[a + 5]
    if resource ~= '' and weight > 0 then
      local n = place_of[resource]
      if n then
        weights[n] = weights[n] + weight
      else
        n = #resources + 1
        place_of[resource], resources[n], weights[n] = n, resource, weight
      end
    end
    if by_instance then
      local instance = tonumber(signal_args[a + 6])
      if last[instance] == nil then order[#order + 1] = instance end
      last[instance] = fires
    end
  end
  if #ids > 0 then redis.call('ZADD', ids_key, unpack(ids)) end
  for i, ordinal in ipairs(ordinals) do
    if ordinal and ordinal < 0 then ordinals[i] = places[-ordinal] end
  end
  for n, instance in ipairs(order) do order[n] = instance * 2 + (last[instance] and 1 or 0) end
  return {
    total = total, others = others, firing = firing, resolving = resolving, severity = severity,
    first_ms = first_ms, last_ms = last_ms, prefix = '', resources = resources, resources_at = 1, r = #resources,
    weights = weights, weights_at = 1, members = order, from = 1, to = #order, happened = happened,
    only_events = #happened == #new,
  }
end

-- Counts the signals about some resources: those of them that there is room for are listed.
local function count_resources(map, tally, limit, hll_key)
  local resources, weights, offset = tally.resources, tally.weights, tally.weights_at - tally.resources_at
  local prefix = tally.prefix
  map.b = map.b or base_of(prefix .. resources[tally.resources_at])
  local base, listed, size, unlisted = map.b, map.rs, map.rc or 0, nil
  -- What they all begin with is compared with the base once. If that is in the base, one that goes on in another way
  -- has no more in common with it.
  local n_shared = string.sub(base, 1, #prefix) == prefix and #prefix or shared_with(prefix, base, 0)
  local mark = string.char(32 + n_shared) .. string.sub(prefix, n_shared + 1)
  local next_byte = n_shared == #prefix and string.byte(base, n_shared + 1)
  for n = tally.resources_at, tally.resources_at + tally.r - 1 do
    local weight = weights and tonumber(weights[n + offset]) or 1
    local byte = string.byte(resources[n])
    local differs = next_byte == false or (byte and byte < 128 and byte ~= next_byte)
    local field = differs and mark .. resources[n] or field_of(prefix .. resources[n], base, n_shared)
    local signals = listed[field]
    if signals then
      listed[field] = signals + weight
    elseif size < limit then
      size = size + 1
      listed[field] = weight
    else
      unlisted = unlisted or {}
      unlisted[#unlisted + 1] = prefix .. resources[n]
    end
  end
  map.rc = size
  if unlisted then
    if not map.tr then
      map.tr = 1
      for field in pairs(listed) do unlisted[#unlisted + 1] = resource_of(field, base) end
    end
    redis.call('PFADD', hll_key, unpack(unlisted))
  end
end

-- Counts signals that fire in the threshold's window, which begins with the first of them.
local function count_window(window, time, n, within)
  if time - window.begins > within then
    window.begins, window.count = time, n
  else
    window.count = window.count + n
  end
  window.most = math.max(window.most, window.count)
end

-- Counts a tally for the threshold and for the rate: Events when they happened, all else now. What happened before the
-- window of the storm began has one of its own: it neither ends that window nor counts in it.
local function count_times(map, tally, total, firing, limits)
  local happened = tally.happened or {}
  if #happened > 1 then table.sort(happened, function(one, other) return one.time < other.time end) end
  if (map.t or 0) == 0 and #happened > 0 then map.ws = happened[1].time end
  local window = { begins = window_of(map), count = map.wc or 0, most = 0 }
  local earlier = #happened > 0 and { begins = -math.huge, count = 0, most = 0 }
  local begins = window.begins
  for _, item in ipairs(happened) do
    count_rate(map, item.time, lately(item, MINUTE_MS))
    count_window(item.time < begins and earlier or window, item.time, lately(item, limits[3]), limits[3])
    total, firing = total - item.weight, firing - item.weight
  end
  if not tally.only_events then
    count_rate(map, now, total)
    count_window(window, now, firing, limits[3])
  end
  if not map.d then
    map.ws, map.wc = window.begins ~= map.o and window.begins or map.ws, window.count
    return math.max(window.most, earlier and earlier.most or 0)
  end
end

-- Notes when the latest signal came, and by how much earlier it happened.
local function count_arrival(map, tally)
  local before = map.l and map.l - (map.y or 0)
  map.l, map.y = now - map.o, nil
  if tally.only_events then
    local latest = tally.happened[#tally.happened].time - map.o
    local late = map.l - math.max(latest, before or latest)
    if late > 0 then map.y = late end
  end
end

-- Counts a tally into the storm.
local function count(map, tally, limits, hll_key, instances_key)
  local before, firing = map.t or 0, tally.firing
  if tally.r > 0 then count_resources(map, tally, limits[9], hll_key) end
  count_instances(map, tally, instances_key)
  local most = count_times(map, tally, tally.total - before, firing, limits)
  map.t = tally.total
  if tally.others > 0 then map.n = tally.others end
  if firing > 0 then map.nf = (map.nf or 0) + firing end
  map.v = math.max(map.v or 0, tally.severity)
  local first, last = tally.first_ms - map.o, tally.last_ms - map.o
  if before == 0 or first < map.a then map.a = first end
  if before == 0 or last > map.z then map.z = last end
  count_arrival(map, tally)
  if not map.d then map.d = threshold_reached(map, most, limits, hll_key) end
  if map.q then
    map.q = nil
    map.re = (map.re or 0) + 1
  end
end

-- What is known of alerts and Events outlives the storm, so that a repeat opens no further one.
local function remember(known, closed, counted_key)
  local flat = {}
  for id, alert in pairs(known.alerts) do
    if alert.changed then
      flat[#flat + 1] = id
      flat[#flat + 1] = text_of(alert)
    end
  end
  for id, occurred in pairs(known.events) do
    flat[#flat + 1] = id
    flat[#flat + 1] = occurred
  end
  if #flat > 0 then redis.call('HSET', counted_key, unpack(flat)) end
  if closed then redis.call('EXPIRE', counted_key, COUNTED_SECONDS) end
end

-- Forgets what another server had discarded: since then it may have been counted, and this server not have heard of it.
local function void_discards(map, storm_key, ids_key, counted_key)
  map.ds, map.dr = nil, nil
  redis.call('SET', storm_key, cmsgpack.pack(map), 'KEEPTTL')
  redis.call('ZREMRANGEBYSCORE', ids_key, '-inf', '(0')
  local flat = redis.call('HGETALL', counted_key)
  for i = 1, #flat, 2 do
    local text, discarded = string.gsub(flat[i + 1], ',%-?%d+d', '')
    if discarded > 0 then
      if string.find(text, ',') then redis.call('HSET', counted_key, flat[i], text) else redis.call('HDEL', counted_key, flat[i]) end
    end
  end
end

-- Forgets a storm of another server that has no request: whoever counted into it does so again. The alerts of earlier
-- storms are not known any more either.
local function drop(before, group_hash, storm_key, ids_key, hll_key, instances_key, counted_key, beyond_key)
  local map = { e = before.e - 1, s = 'c', la = before.ls, ls = before.ls }
  for floor in pairs(FLOORS) do map[floor] = before[floor] end
  redis.call('DEL', ids_key, hll_key, instances_key, counted_key, beyond_key)
  redis.call('ZREM', due_key, group_hash)
  keep(storm_key, map)
  return map
end

-- Puts the seed in the place of what there is. Its alerts and Events stay known if the request was closed with just
-- what Redis has: its closing is not noted here yet.
local function continue(
  before, seed, group_hash, opening, storm_key, ids_key, hll_key, instances_key, opening_key, counted_key, beyond_key
)
  redis.call('DEL', hll_key, instances_key, beyond_key)
  redis.call('ZREMRANGEBYSCORE', ids_key, 0, '+inf')
  redis.call('SET', opening_key, opening)
  local map = cjson.decode(seed)
  if before then map.ds, map.dr = before.ds, before.dr end
  if map.s == 'o' then
    map.g = incarnation
    redis.call('ZADD', due_key, now, group_hash)
  end
  if before and map.s == 'c' and before.g == map.g and folded_of(before) == map.w then
    map.la = before.la
    redis.call('EXPIRE', counted_key, COUNTED_SECONDS)
  else
    redis.call('DEL', counted_key)
  end
  keep(storm_key, map)
  return map
end

-- Reads the sum of Signals. Gives it as a tally if all of them are new, and they are noted then. Otherwise `signal_args`
-- has them one by one, and besides nil comes where they begin there, and whether the new ones among them are noted.
-- None is known by a version above the newest one counted, so that of ids which are noted blindly the score tells the
-- new ones: it is their own version.
local function read_sum(map, m, first, ids_key)
  local above = tonumber(ARGV[first]) > math.max(floor_of(map), map.s == 'o' and map.p or 0)
  local a = first + 2
  local prefix, r, w = ARGV[a + 4], tonumber(ARGV[a + 5]), tonumber(ARGV[a + 6])
  local resources_at = a + 7
  local instances_at = resources_at + r + w + 1
  local ids_at = instances_at + tonumber(ARGV[instances_at - 1])
  local text_at = ids_at + m * 2
  if above and redis.call('ZADD', ids_key, 'NX', unpack(ARGV, ids_at, text_at - 1)) == m then
    local firing = tonumber(ARGV[a])
    return {
      firing = firing, resolving = firing < m, severity = tonumber(ARGV[a + 1]), first_ms = tonumber(ARGV[a + 2]),
      last_ms = tonumber(ARGV[a + 3]), prefix = prefix, resources = ARGV, resources_at = resources_at, r = r,
      weights = w > 0 and ARGV, weights_at = resources_at + r, members = ARGV, from = instances_at, to = ids_at - 1, total = 0, others = 0,
    }
  end
  local firing, severity, seen, resource, instance = unpack(cjson.decode(ARGV[text_at]))
  local args = {}
  for n = 1, m do
    local before = #args
    args[before + 1], args[before + 2] = ARGV[ids_at + n * 2 - 2], ARGV[ids_at + n * 2 - 1]
    args[before + 3] = firing[n] and '1' or '0'
    args[before + 4], args[before + 5] = severity[n], seen[n]
    args[before + 6] = resource[n] > 0 and prefix .. ARGV[resources_at + resource[n] - 1] or ''
    args[before + 7] = math.floor(ARGV[instances_at + instance[n] - 1] / 2)
  end
  signal_args = args
  return nil, 1, above
end

local looks = {} -- when to look at the storms of the batch: score and group_hash

local function fold_storm(storm_key, ids_key, hll_key, instances_key, opening_key, counted_key, beyond_key)
  local group_hash, terms, opening = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local known_epoch, known_folded, known_incarnation = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]), ARGV[at + 5]
  local distrusted, basis = ARGV[at + 6], ARGV[at + 7]
  local seed_epoch, seed_folded, seed = tonumber(ARGV[at + 8]), tonumber(ARGV[at + 9]), ARGV[at + 10]
  local sum_at = at + 12
  at = sum_at + tonumber(ARGV[sum_at - 1])
  local map = storm_at(storm_key)
  local lost = behind(map, known_epoch, known_folded) and (map or known_epoch > 0)
  local foreign = map and map.s ~= 'c' and string.sub(map.g or '', -SERVER_CHARACTERS) ~= server
  if map and map.s ~= 'c' and known_incarnation ~= '' and known_incarnation ~= map.g then lost = true end
  if foreign and known_epoch > 0 then lost = true end
  -- Closed before the caller heard of it: what it holds goes first, or what comes now would raise the floor above that.
  if map and map.s == 'c' and known_epoch > 0 and map.e >= known_epoch then lost = true end
  if lost then
    return { 'lost', 0, 0, 0, 0, 0, '', '' }
  end
  if map and map.ds and map.ds ~= server then void_discards(map, storm_key, ids_key, counted_key) end
  if foreign and seed == '' then map = drop(map, group_hash, storm_key, ids_key, hll_key, instances_key, counted_key, beyond_key) end
  if seed ~= '' and (foreign or behind(map, seed_epoch, seed_folded) or (map.s ~= 'c' and map.g == distrusted)) then
    map = continue(map, seed, group_hash, opening, storm_key, ids_key, hll_key, instances_key, opening_key, counted_key, beyond_key)
  elseif not map then
    redis.call('DEL', ids_key, hll_key, instances_key, counted_key, beyond_key)
    map = { e = 0, s = 'c' }
  end
  if map.s == 'x' then
    return { 'closing', map.e, folded_of(map), 0, 0, map.w or 0, map.g or '', '' }
  end
  local m, summed = tonumber(ARGV[sum_at]), ARGV[sum_at + 1] == '1'
  local tally, first, noted = nil, sum_at + 2, false
  local new, ordinals, known, repeats = nil, {}, nil, {}
  if summed then
    tally, first, noted = read_sum(map, m, first, ids_key)
  end
  if not tally and m > 0 then
    new, ordinals, known, repeats = read_signals(map, basis, m, first, noted, ids_key, counted_key)
  end
  local due = seed ~= '' and map.s == 'o' and now or 0
  if tally or (new and #new > 0) then
    if map.s == 'c' then
      map = open_next(map, terms)
      redis.call('DEL', hll_key, instances_key, beyond_key)
      redis.call('PERSIST', counted_key)
      redis.call('PERSIST', ids_key)
      redis.call('SET', opening_key, opening)
    end
    if tally then
      ordinals[1] = folded_of(map) + 1
      tally.total, tally.others = (map.t or 0) + m, map.n or 0
      reach(map, 'p', ARGV[sum_at + 3])
    else
      tally = tally_of(map, new, ordinals, ids_key, beyond_key)
    end
    local limits = limits_of(map.k)
    count(map, tally, limits, hll_key, instances_key)
    keep(storm_key, map)
    due = next_due(map, limits)
    looks[#looks + 1] = due
    looks[#looks + 1] = group_hash
  end
  signal_args = ARGV
  if known then remember(known, map.s == 'c', counted_key) end
  for _, i in ipairs(repeats) do ordinals[i] = -math.abs(ordinals[i]) end
  return {
    'counted', map.e, folded_of(map), map.s == 'o' and 1 or 0, due, map.w or 0, map.g or '', map.dr or '',
    unpack(ordinals),
  }
end

local replies = {}
for s = 1, storms do
  local k = 3 + (s - 1) * 7
  replies[s] = fold_storm(
    KEYS[k], KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4], KEYS[k + 5], KEYS[k + 6]
  )
end
if #looks > 0 then redis.call('ZADD', due_key, 'LT', unpack(looks)) end
return replies
