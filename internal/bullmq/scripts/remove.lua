-- id, with its children ("1")
local with = ARGV[3] == '1'

-- Nothing is removed if a part of it is being worked on.
local function anyLocked(p, id, depth)
  if locked(p, id) then return true end
  if not with or depth > 100 then return false end
  for _, key in ipairs(children(p, id)) do
    local cp, cid = split(key)
    if anyLocked(cp, cid, depth + 1) then return true end
  end
  return false
end

local function remove(p, id, depth)
  if with and depth <= 100 then
    local keys = children(p, id)
    -- They must not wake their parent, which goes too.
    call('DEL', p .. id .. ':dependencies')
    for _, key in ipairs(keys) do
      local cp, cid = split(key)
      remove(cp, cid, depth + 1)
    end
  end
  local prev = withdraw(p, id)
  if discard(p, id) > 0 then tellTrimmed(p, 'removed', 'jobId', id, 'prev', prev) end
end

local id = ARGV[2]
if call('EXISTS', P .. id) == 0 then return -1 end
if scheduled(P, id) then return -8 end
if anyLocked(P, id, 0) then return -2 end
remove(P, id, 0)
return 1
