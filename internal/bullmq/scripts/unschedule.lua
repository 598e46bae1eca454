-- scheduler id
local id = ARGV[2]
local next = call('ZSCORE', P .. 'repeat', id)
if not next then return -1 end
local job = 'repeat:' .. id .. ':' .. next
local prev = withdraw(P, job)
if prev == 'active' then
  call('LPUSH', P .. 'active', job) -- it goes on, as the last run
elseif prev ~= 'unknown' then
  discard(P, job)
  tell(P, 'removed', 'jobId', job, 'prev', prev)
end
call('ZREM', P .. 'repeat', id)
call('DEL', P .. 'repeat:' .. id)
return 1
