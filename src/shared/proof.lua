-- KEYS: the proof; since when proofs are remembered. ARGV: its lifetime in milliseconds; its iat in seconds
local since = redis.call('GET', KEYS[2])
if not since then
  -- Nothing is remembered of what was before: a new server, or one that lost its memory.
  since = string.format('%d', redis.call('TIME')[1] + 1)
  redis.call('SET', KEYS[2], since)
end
if tonumber(ARGV[2]) < tonumber(since) then return -1 end
if redis.call('SET', KEYS[1], '', 'NX', 'PX', ARGV[1]) then return 1 end
return 0
