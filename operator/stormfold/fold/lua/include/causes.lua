-- What may explain a storm: which values the signals of a piece have of some attributes, as `fold/causes.py`
-- writes it, until the request holds it.

-- Takes what a piece tells, and which of its signals count if not each of them counts once.
local function take_causes(storm, tally, text, key, changed)
  if text == '' or tally.signals == 0 or redis.call('HLEN', key) >= EVIDENCE_FIELDS then return end
  if tally.counted then
    local weights, once = {}, 0
    for i, weight in pairs(tally.counted) do
      if weight == 1 then once = once + 1 end
      if weight > 0 then weights[#weights + 1] = string.format('%.0f:%.0f', i, weight) end
    end
    local sent = number(string.match(text, '^%[(%d+)'))
    if once < sent then text = text .. '\n' .. table.concat(weights, ',') end
  end
  changed[string.format('causes_%.0f', folded_of(storm))] = text
end
