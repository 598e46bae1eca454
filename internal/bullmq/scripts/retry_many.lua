-- state, how many at most; answers how many were moved
local state = ARGV[2]
local ids = call('ZRANGEBYSCORE', P .. state, '-inf', '+inf', 'LIMIT', 0, ARGV[3])
for _, id in ipairs(ids) do
  if state == 'delayed' then
    call('HSET', P .. id, 'delay', 0)
  else
    call('HDEL', P .. id, 'finishedOn', 'processedOn', 'failedReason', 'returnvalue')
    rejoinParent(P, id)
  end
  enqueue(P, id, tonumber(call('HGET', P .. id, 'priority')) or 0, false)
  tellTrimmed(P, 'waiting', 'jobId', id, 'prev', state)
end
each('ZREM', P .. state, ids)
return #ids
