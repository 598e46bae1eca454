-- delayed jobs too ("1"); answers how many were removed
local n = 0
local function empty(ids)
  local gone = {}
  for _, id in ipairs(ids) do
    if not scheduled(P, id) then gone[#gone + 1] = id end
  end
  return gone
end
for _, state in ipairs({'wait', 'paused'}) do
  local all = call('LRANGE', P .. state, 0, -1)
  local gone = empty(all)
  if #gone > 0 then
    local stay = {}
    for _, id in ipairs(all) do
      if scheduled(P, id) then stay[#stay + 1] = id end
    end
    call('DEL', P .. state)
    each('RPUSH', P .. state, stay)
    for _, id in ipairs(gone) do discard(P, id) end
    n = n + #gone
  end
end
local states = {'prioritized'}
if ARGV[2] == '1' then states[2] = 'delayed' end
for _, state in ipairs(states) do
  local gone = empty(call('ZRANGE', P .. state, 0, -1))
  each('ZREM', P .. state, gone)
  for _, id in ipairs(gone) do discard(P, id) end
  n = n + #gone
end
return n
