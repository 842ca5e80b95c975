/**
 * Unique keys, and the end of a job: it lets go of its key and its group, and is kept for as long as its result was asked
 * for or the retention says, or is forgotten at once.
 *
 * @since 0.1.0
 */
export const keys = String.raw`
-- id of the job that has the key
local function holder(key)
  local value = call('HGET', UKEY, key)
  if not value then return nil end
  local kind, n, id = string.match(value, '^(.)(%d+) (.*)$')
  if kind == 'w' and tonumber(n) <= NOW then return nil end
  return id
end

-- what is replaced is a window that is over
local function takeKey(job)
  if type(job.scope) == 'number' then
    local expires = later(job.scope)
    if expires <= NOW then return end
    call('HSET', UKEY, job.key, 'w' .. int(expires) .. ' ' .. job.id)
    call('ZADD', WINDOW, int(expires), job.key)
  else
    call('HSET', UKEY, job.key, 'j' .. int(job.num) .. ' ' .. job.id)
    call('ZREM', WINDOW, job.key)
  end
end

-- nothing happens when another has it by now, or when it is a window
local function freeKey(job)
  if call('HGET', UKEY, job.key) == 'j' .. int(job.num) .. ' ' .. job.id then call('HDEL', UKEY, job.key) end
end
`

export const ending = String.raw`
local function endOf(id)
  local value = call('HGET', END, id)
  return value and cjson.decode(value) or nil
end

-- removes every trace of a job that is in no place
local function forget(id)
  call('HDEL', JOB, id)
  call('HDEL', STATE, id)
  call('HDEL', END, id)
  call('ZREM', DEAD, id)
  call('ZREM', KEPT, id)
end

-- how: what became of it; event: the line in its history. It is in no place and no group any more
local function finish(job, attempt, how, event, runner, reason, detail, exit)
  if job.key then freeKey(job) end
  call('SREM', ABORT, job.id)
  local failure = how == 'dead' or how == 'aborted'
  local result = job.keep >= 0 and later(job.keep) or 0
  local expires = math.max(result, later(failure and FAILURES or SUCCESSES))
  if expires <= NOW then
    forget(job.id)
    return
  end
  happened(job, event, attempt, runner and runner.worker, detail)
  job.state.n = attempt
  save(job)
  call('HSET', END, job.id, cjson.encode({
    s = how, f = NOW, w = runner and runner.worker, c = runner and runner.claimed, r = reason, x = exit,
    e = expires, u = result
  }))
  call('ZADD', KEPT, int(expires), job.id)
  if how == 'dead' then call('ZADD', DEAD, int(job.num), job.id) end
  hint('r', QUEUE, job.id)
end

-- forgets up to so many of what was kept long enough; returns how many
local function sweep(max)
  local jobs = call('ZRANGEBYSCORE', KEPT, '-inf', NOW, 'LIMIT', 0, max)
  for _, id in ipairs(jobs) do forget(id) end
  local windows = call('ZRANGEBYSCORE', WINDOW, '-inf', NOW, 'LIMIT', 0, max)
  if #windows > 0 then
    put('HDEL', UKEY, windows)
    put('ZREM', WINDOW, windows)
  end
  return math.max(#jobs, #windows)
end
`
