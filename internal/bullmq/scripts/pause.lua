-- "1" to pause, "0" to resume
if ARGV[2] == '1' then
  if call('HEXISTS', P .. 'meta', 'paused') == 1 then return 0 end
  call('HSET', P .. 'meta', 'paused', 1)
  call('DEL', P .. 'marker')
  if waitList(P) ~= P .. 'wait' and call('EXISTS', P .. 'wait') == 1 then call('RENAME', P .. 'wait', P .. 'paused') end
  tell(P, 'paused')
  return 1
end
if call('HDEL', P .. 'meta', 'paused') == 0 then return 0 end
if call('EXISTS', P .. 'paused') == 1 then
  if call('EXISTS', P .. 'wait') == 0 then
    call('RENAME', P .. 'paused', P .. 'wait')
  else
    local ids = call('LRANGE', P .. 'paused', 0, -1)
    call('DEL', P .. 'paused')
    each('RPUSH', P .. 'wait', ids)
  end
end
if call('LLEN', P .. 'wait') + call('ZCARD', P .. 'prioritized') > 0 then
  wake(P)
else
  wakeForDelayed(P)
end
tell(P, 'resumed')
return 1
