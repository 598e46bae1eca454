-- id or "", name, data, opts, delay, priority, front ("1"), deduplication id or "", its time to live or ""
local id, name, data, opts, wait, priority, front = ARGV[2], ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8] == '1'
local key, ttl = ARGV[9], ARGV[10]
local n = call('INCR', P .. 'id')
if id == '' then
  id = tostring(n)
elseif call('EXISTS', P .. id) == 1 then
  tellTrimmed(P, 'duplicated', 'jobId', id)
  return id
end
if key ~= '' then
  local args = {P .. 'de:' .. key, id, 'NX'}
  if ttl ~= '' then
    args[4], args[5] = 'PX', ttl
  end
  if not call('SET', unpack(args)) then
    local owner = call('GET', P .. 'de:' .. key)
    tellTrimmed(P, 'deduplicated', 'jobId', owner, 'deduplicationId', key, 'deduplicatedJobId', id)
    return owner
  end
end
call('HSET', P .. id, 'name', name, 'data', data, 'opts', opts, 'timestamp', ARGV[1], 'delay', wait, 'priority', priority)
if key ~= '' then call('HSET', P .. id, 'deid', key) end
tell(P, 'added', 'jobId', id, 'name', name)
if wait > 0 then
  delay(P, id, now + wait)
else
  enqueue(P, id, priority, front)
  tellTrimmed(P, 'waiting', 'jobId', id)
end
return id
