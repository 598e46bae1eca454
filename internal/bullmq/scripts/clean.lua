-- state, how old in ms, how many at most; answers the ids
local state, before, limit = ARGV[2], now - tonumber(ARGV[3]), tonumber(ARGV[4])

local function old(id)
  local at = call('HMGET', P .. id, 'finishedOn', 'processedOn', 'timestamp')
  local t = tonumber(at[1] or at[2] or at[3])
  return not t or t <= before
end

local removed = {}
local function consider(id)
  if #removed < limit and not locked(P, id) and not scheduled(P, id) and old(id) then
    removed[#removed + 1] = id
    return true
  end
  return false
end

if state == 'wait' or state == 'paused' or state == 'active' then
  -- The oldest are at the right end. Those that go are marked by an empty id, which no job has, and taken out together.
  local len = call('LLEN', P .. state)
  local from = math.max(0, len - 5 * limit)
  local ids = call('LRANGE', P .. state, from, -1)
  for i = #ids, 1, -1 do
    if consider(ids[i]) then call('LSET', P .. state, from + i - 1, '') end
  end
  call('LREM', P .. state, 0, '')
else
  for _, id in ipairs(call('ZRANGE', P .. state, 0, 5 * limit)) do consider(id) end
  each('ZREM', P .. state, removed)
end
for _, id in ipairs(removed) do discard(P, id) end
tell(P, 'cleaned', 'count', #removed)
return removed
