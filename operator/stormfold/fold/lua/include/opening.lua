-- Opens the next storm of a group; `first` is the place of what it opens with, `n` how many arguments that
-- are.
local function open_next(storm, keys, first, n)
  if storm.epoch then -- it had one, of which some is left
    redis.call('DEL', keys.resources, keys.hll, keys.instances, keys.beyond)
    for _, key in ipairs({ keys.storm, keys.counted, keys.ids }) do redis.call('PERSIST', key) end
  end
  put(storm, 'epoch', number(storm.epoch) + 1)
  put(storm, 'state', 'open')
  put(storm, 'incarnation', incarnation)
  put(storm, 'opened_ms', now)
  -- What is counted says at least the floor: a storm of alerts alone must leave it to the next one.
  if storm.signals_floor then put(storm, 'signals_last', storm.signals_floor) end
  if storm.events_floor then put(storm, 'events_last', storm.events_floor) end
  redis.call('SET', keys.opening, ARGV[first])
  -- Where the terms are. They are written last, since a hash is looked through in order.
  return first + 1, first + n - 1
end
