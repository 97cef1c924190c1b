-- KEYS: since when proofs are remembered; what a trial writes
if not redis.call('GET', KEYS[1]) then
  redis.call('SET', KEYS[1], string.format('%d', redis.call('TIME')[1] + 1))
end
redis.call('SET', KEYS[2], '', 'PX', 10000)
return 1
