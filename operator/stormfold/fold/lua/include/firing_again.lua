-- Alerts that fire again with the start that they had: trouble that the request before says to be over.

-- Whether no word came for staleAfter of an alert that is not in the storm: nothing looks through those.
local function is_silent(storm, alert)
  local after = storm.stale_after_ms
  return after and heard_of(storm, alert) + after <= now
end

-- Notes that the storm makes a request in any case, if it has none: one fires again that the request before
-- says to have ended, or to be stale. That is news, also if that request is skipped.
local function opens_again(storm)
  if number(storm.written) > 0 then return false end
  put(storm, 'still_firing', 2)
  return true
end
