-- What the scripts of this package share. Each gets the queue's key prefix ("bull:emails:") as its only key and the time in milliseconds as
-- its first argument; other keys are made from these, as the official scripts do it too. Names of keys and fields, and what each
-- change of state writes, are those of BullMQ: sections 5, 6 and 11 of its protocol.
local call = redis.call
local P = KEYS[1]
local now = tonumber(ARGV[1])

-- A queue of the 5.x packages keeps its waiting jobs in "paused" while it is paused; later ones leave them where they are.
local function waitList(p)
  local meta = call('HMGET', p .. 'meta', 'paused', 'version')
  if meta[1] and meta[2] then
    local major = tonumber(string.match(meta[2], ':(%d+)%.'))
    if major and major < 6 then return p .. 'paused' end
  end
  return p .. 'wait'
end

local function held(p)
  local meta = call('HMGET', p .. 'meta', 'paused', 'concurrency')
  if meta[1] then return true end
  return meta[2] and call('LLEN', p .. 'active') >= tonumber(meta[2])
end

-- Wakes a worker, unless none may take a job.
local function wake(p)
  if not held(p) then call('ZADD', p .. 'marker', 0, '0') end
end

local function wakeForDelayed(p)
  local first = call('ZRANGE', p .. 'delayed', 0, 0, 'WITHSCORES')
  if #first > 0 then call('ZADD', p .. 'marker', tonumber(first[2]) / 4096, '1') end
end

local function kept(p)
  local n = call('HGET', p .. 'meta', 'opts.maxLenEvents')
  if n then return n end
  call('HSET', p .. 'meta', 'opts.maxLenEvents', 10000)
  return 10000
end

local function tell(p, name, ...)
  call('XADD', p .. 'events', '*', 'event', name, ...)
end

local function tellTrimmed(p, name, ...)
  call('XADD', p .. 'events', 'MAXLEN', '~', kept(p), '*', 'event', name, ...)
end

-- Puts a job where workers take it from: by its priority, at the front of the line if front is true.
local function enqueue(p, id, priority, front)
  if priority > 0 then
    local n = 0
    if not front then n = call('INCR', p .. 'pc') % 4294967296 end
    call('ZADD', p .. 'prioritized', priority * 4294967296 + n, id)
  elseif front then
    call('RPUSH', waitList(p), id)
  else
    call('LPUSH', waitList(p), id)
  end
  wake(p)
end

-- Delayed jobs are ordered by their due time, and those of one millisecond by when they came.
local function delay(p, id, due)
  local low = due * 4096
  local last = call('ZREVRANGEBYSCORE', p .. 'delayed', low + 4095, low, 'WITHSCORES', 'LIMIT', 0, 1)
  local score = low
  if #last > 0 then score = math.min(tonumber(last[2]) + 1, low + 4095) end
  call('ZADD', p .. 'delayed', score, id)
  tellTrimmed(p, 'delayed', 'jobId', id, 'delay', due)
  wakeForDelayed(p)
end

-- A job's key in two parts, which have the last colon between them.
local function split(key)
  return string.match(key, '^(.*:)([^:]*)$')
end

local function locked(p, id)
  return call('EXISTS', p .. id .. ':lock') == 1
end

-- Says whether a job is the next run of a scheduler, which only its scheduler may take away.
local function scheduled(p, id)
  local scheduler = call('HGET', p .. id, 'rjk')
  if not scheduler then return false end
  local next = call('ZSCORE', p .. 'repeat', scheduler)
  return next and id == 'repeat:' .. scheduler .. ':' .. next
end

local function dropKeys(p, id)
  local k = p .. id
  return call('DEL', k, k .. ':logs', k .. ':dependencies', k .. ':processed', k .. ':failed', k .. ':unsuccessful')
end

-- A parent whose last child is gone need not wait any more.
local function leaveParent(p, id)
  local parent = call('HGET', p .. id, 'parentKey')
  if not parent or parent == '' or call('SREM', parent .. ':dependencies', p .. id) == 0 then return end
  if call('SCARD', parent .. ':dependencies') > 0 then return end
  local pp, pid = split(parent)
  if call('ZREM', pp .. 'waiting-children', pid) == 1 then
    call('RPUSH', waitList(pp), pid)
    wake(pp)
    tell(pp, 'waiting', 'jobId', pid, 'prev', 'waiting-children')
  end
end

-- A child that is to run again is among those that its parent waits for again.
local function rejoinParent(p, id)
  local parent = call('HGET', p .. id, 'parentKey')
  if not parent or parent == '' or call('EXISTS', parent) == 0 then return end
  local k = p .. id
  local n = call('HDEL', parent .. ':processed', k) + call('HDEL', parent .. ':failed', k) + call('ZREM', parent .. ':unsuccessful', k)
  if n > 0 then call('SADD', parent .. ':dependencies', k) end
end

local function releaseDeduplication(p, id)
  local key = call('HGET', p .. id, 'deid')
  if key and call('GET', p .. 'de:' .. key) == id then
    call('DEL', p .. 'de:' .. key, p .. 'dn:' .. key)
  end
end

local sets = {'completed', 'failed', 'delayed', 'prioritized', 'waiting-children'}

-- Takes a job out of the state that it is in and says which that was.
local function withdraw(p, id)
  for _, state in ipairs(sets) do
    if call('ZREM', p .. state, id) == 1 then return state end
  end
  for _, state in ipairs({'wait', 'paused', 'active'}) do
    if call('LREM', p .. state, 0, id) > 0 then return state end
  end
  return 'unknown'
end

-- Removes one job and all that is kept of it. Its place in its state is the caller's affair.
local function discard(p, id)
  leaveParent(p, id)
  releaseDeduplication(p, id)
  return dropKeys(p, id)
end

-- The children of a job, as their keys.
local function children(p, id)
  local k = p .. id
  local keys = call('SMEMBERS', k .. ':dependencies')
  for _, field in ipairs({':processed', ':failed'}) do
    for _, child in ipairs(call('HKEYS', k .. field)) do keys[#keys + 1] = child end
  end
  for _, child in ipairs(call('ZRANGE', k .. ':unsuccessful', 0, -1)) do keys[#keys + 1] = child end
  return keys
end

-- Calls a command with many arguments in parts that fit the stack.
local function each(name, key, list)
  for i = 1, #list, 5000 do call(name, key, unpack(list, i, math.min(i + 4999, #list))) end
end
