-- id, priority, front ("1")
local id, priority = ARGV[2], tonumber(ARGV[3])
if call('EXISTS', P .. id) == 0 then return -1 end
if call('ZREM', P .. 'prioritized', id) == 1 or call('LREM', waitList(P), -1, id) > 0 then
  enqueue(P, id, priority, ARGV[4] == '1')
end
call('HSET', P .. id, 'priority', priority)
return 1
