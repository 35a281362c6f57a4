-- Whether a storm is open, and if so, whether a request is to be made of it by now: see `Open` in fold.lua.
local function open_of(storm)
  if storm.state ~= 'open' then return 0 end
  if number(storm.written) > 0 or storm.still_firing then return 1 end
  if number(storm.firing_signals) == 0 then return 2 end
  if storm.detected then return 1 end
  if number(storm.discard) == 1 then return 3 end
  return number(storm.group_wait_ms) > PATIENT_MS and 4 or 1
end
