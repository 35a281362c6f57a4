#!lua flags=allow-oom
--[[
  Try what the other scripts need, on keys of its own.

  KEYS[1]  text     string  sf:2:{p<n>}:try:text
  KEYS[2]  sorted   zset    sf:2:{p<n>}:try:sorted
  KEYS[3]  hash     hash    sf:2:{p<n>}:try:hash
  KEYS[4]  numbers  set     sf:2:{p<n>}:try:numbers
  KEYS[5]  loglog   HyperLogLog  sf:2:{p<n>}:try:loglog
  ARGV[1]  how long the keys live if they cannot be deleted, seconds; 0: nothing is tried, but like every
           script that may write it is refused while the server takes no writes

  Returns     {what is missing, a space and why, …}; each a command
  Guarantees  leaves nothing behind
]]
local text, sorted, hash, numbers, loglog = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local seconds = ARGV[1]
local missing, told = {}, {}
if seconds == '0' then return missing end

local function try(command, ...)
  local answer = redis.pcall(command, ...)
  local why = type(answer) == 'table' and answer.err
  if why and not told[command] then
    told[command] = true
    missing[#missing + 1] = command .. ' ' .. why
  end
  return answer
end

local info = try('INFO', 'server')
if type(info) == 'string' and not string.match(info, 'run_id:%x+') then
  missing[#missing + 1] = 'INFO it tells no run_id'
end

try('TIME')

try('SET', text, '1', 'EX', seconds)
try('SET', text, '1', 'KEEPTTL')
try('GET', text)
try('BITFIELD', text, 'SET', 'u1', 9, 1, 'GET', 'u1', 9)
try('PERSIST', text)
try('EXPIRE', text, seconds)

try('ZADD', sorted, 'NX', 1, 'a', 2, 'b')
try('EXPIRE', sorted, seconds)
try('ZADD', sorted, 'LT', 1, 'b')
try('ZSCORE', sorted, 'a')
try('ZMSCORE', sorted, 'a', 'c')
try('ZRANGE', sorted, 0, -1, 'WITHSCORES')
try('ZRANGEBYSCORE', sorted, '-inf', 1, 'LIMIT', 0, 1)
try('ZREM', sorted, 'a')
try('ZREMRANGEBYSCORE', sorted, '-inf', '+inf')

try('HSET', hash, 'a', '1', 'b', '2')
try('EXPIRE', hash, seconds)
try('HGET', hash, 'a')
try('HMGET', hash, 'a', 'c')
try('HGETALL', hash)
try('HLEN', hash)
try('HKEYS', hash)
try('HVALS', hash)
try('HSETNX', hash, 'd', '1')
try('HDEL', hash, 'a')

try('SADD', numbers, 1, 2)
try('EXPIRE', numbers, seconds)
try('SCARD', numbers)
try('SMISMEMBER', numbers, 1, 3)
try('SREM', numbers, 1)

try('PFADD', loglog, 'a')
try('EXPIRE', loglog, seconds)
try('PFCOUNT', loglog)
try('RENAME', loglog, loglog)
try('EXISTS', loglog)

try('DEL', text, sorted, hash, numbers, loglog)
return missing
