-- id, state ("failed" or "completed"), reset the attempts ("1")
local id, state = ARGV[2], ARGV[3]
if call('EXISTS', P .. id) == 0 then return -1 end
if call('ZREM', P .. state, id) == 0 then return -3 end
call('HDEL', P .. id, 'finishedOn', 'processedOn', 'failedReason', 'returnvalue')
if ARGV[4] == '1' then call('HDEL', P .. id, 'atm', 'ats') end
local front = string.find(call('HGET', P .. id, 'opts') or '', '"lifo":true', 1, true) ~= nil
enqueue(P, id, tonumber(call('HGET', P .. id, 'priority')) or 0, front)
rejoinParent(P, id)
tellTrimmed(P, 'waiting', 'jobId', id, 'prev', state)
return 1
