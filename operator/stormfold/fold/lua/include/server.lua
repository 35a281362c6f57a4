-- The server that runs this script: the end of an incarnation names the one that counted it.
local info = redis.call('INFO', 'server')
local run_id = string.find(info, 'run_id:', 1, true) + 7
local server = string.sub(info, run_id, run_id + SERVER_CHARACTERS - 1)

local function is_ours(storm) return string.sub(storm.incarnation or '', -SERVER_CHARACTERS) == server end
