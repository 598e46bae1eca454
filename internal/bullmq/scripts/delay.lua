-- id, delay from now in ms
local id = ARGV[2]
if call('EXISTS', P .. id) == 0 then return -1 end
if call('ZREM', P .. 'delayed', id) == 0 then return -3 end
call('HSET', P .. id, 'delay', ARGV[3])
delay(P, id, now + tonumber(ARGV[3]))
return 1
