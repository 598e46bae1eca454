-- id
local id = ARGV[2]
if call('EXISTS', P .. id) == 0 then return -1 end
if call('ZREM', P .. 'delayed', id) == 0 then return -3 end
enqueue(P, id, tonumber(call('HGET', P .. id, 'priority')) or 0, false)
tell(P, 'waiting', 'jobId', id, 'prev', 'delayed')
call('HSET', P .. id, 'delay', 0)
return 1
