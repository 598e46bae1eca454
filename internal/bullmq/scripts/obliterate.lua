-- how many keys at most, with active jobs ("1"); answers 1 if there is more, 0 if all is gone, -1 if it is not paused, -2 if jobs are active
local left = tonumber(ARGV[2])
if call('HEXISTS', P .. 'meta', 'paused') == 0 then return -1 end
if ARGV[3] ~= '1' and call('LLEN', P .. 'active') > 0 then return -2 end
for _, state in ipairs({'active', 'wait', 'paused'}) do
  local ids = call('LRANGE', P .. state, 0, left - 1)
  for _, id in ipairs(ids) do
    discard(P, id)
    call('DEL', P .. id .. ':lock')
  end
  call('LTRIM', P .. state, #ids, -1)
  left = left - #ids
  if left <= 0 then return 1 end
end
for _, state in ipairs(sets) do
  local ids = call('ZRANGE', P .. state, 0, left - 1)
  for _, id in ipairs(ids) do discard(P, id) end
  each('ZREM', P .. state, ids)
  left = left - #ids
  if left <= 0 then return 1 end
end
for _, id in ipairs(call('ZRANGE', P .. 'repeat', 0, -1)) do call('DEL', P .. 'repeat:' .. id) end
for _, key in ipairs({'events', 'delay', 'priority', 'pc', 'marker', 'stalled', 'stalled-check', 'limiter', 'repeat', 'id', 'meta',
  'metrics:completed', 'metrics:completed:data', 'metrics:failed', 'metrics:failed:data'}) do
  call('DEL', P .. key)
end
return 0
