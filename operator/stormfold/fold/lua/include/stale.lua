-- Alerts that fire and of which no word came for the policy's staleAfter: they count as stale from now on.
-- All are looked through when the oldest may have become so, and 16 times in staleAfter at most.
local function mark_stale(storm, alerts_key)
  local flat, stale, oldest = redis.call('HGETALL', alerts_key), {}, now
  local after = number(storm.stale_after_ms)
  for i = 1, #flat, 2 do
    local alert = alert_of(flat[i + 1])
    local heard = heard_of(storm, alert)
    if alert.fires and heard + after <= now then
      alert.fires, alert.stale = false, true
      stale[#stale + 1], stale[#stale + 2] = flat[i], text_of(alert)
    elseif alert.fires then
      oldest = math.min(oldest, heard)
    end
  end
  for i = 1, #stale, 2000 do
    redis.call('HSET', alerts_key, unpack(stale, i, math.min(i + 1999, #stale)))
  end
  put(storm, 'stale_look_ms', math.max(oldest + after, now + math.ceil(after / 16)))
  if #stale > 0 then
    add(storm, 'alerts_firing', -#stale / 2)
    add(storm, 'alerts_stale', #stale / 2)
    add(storm, 'changes', 1)
    put(storm, 'alerts_last', folded_of(storm))
  end
  write_storm(storm)
end
