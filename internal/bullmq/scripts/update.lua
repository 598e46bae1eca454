-- id, data
if call('EXISTS', P .. ARGV[2]) == 0 then return -1 end
call('HSET', P .. ARGV[2], 'data', ARGV[3])
return 1
