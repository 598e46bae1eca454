-- answers the number of jobs in each state, whether it is paused, its limits, and the time to live of its rate limit
local out = {}
for _, state in ipairs({'wait', 'paused', 'active'}) do out[#out + 1] = call('LLEN', P .. state) end
for _, state in ipairs({'prioritized', 'delayed', 'waiting-children', 'completed', 'failed', 'repeat'}) do out[#out + 1] = call('ZCARD', P .. state) end
local meta = call('HMGET', P .. 'meta', 'paused', 'concurrency', 'max', 'duration', 'version')
for i = 1, 5 do out[#out + 1] = meta[i] or '' end
out[#out + 1] = call('PTTL', P .. 'limiter')
return out
