/**
 * The call of the hot path: settles one batch, then claims the next. Own arguments: the worker, how many to claim, the
 * time by the server's clock after which nobody waits for the claim any more (0: not known), how many successes of jobs
 * without group, key, result and retention there are, for each its id and fence, and the other settlements as JSON (or
 * nothing).
 *
 * The fence is looked at before anything else: a stale owner changes nothing and is told `Lost`.
 *
 * @since 0.1.0
 */
import { first } from "./base.ts"

export const successes = String.raw`
-- nothing but the job itself goes when one of these succeeds. Answers with the indexes (from 1) of those that are lost
local function succeed(from, count)
  local lost, ids, fences = {}, {}, {}
  for i = 1, count do
    ids[i], fences[i] = ARGV[from + 2 * i - 2], ARGV[from + 2 * i - 1]
  end
  local owners = get('HMGET', ACTIVE, ids)
  local gone, seen = {}, {}
  for i = 1, count do
    local fence, id = fences[i], ids[i]
    -- of two settlements with the same receipt the first one counts
    if owners[i] and not seen[id] and string.sub(owners[i], 1, #fence + 1) == fence .. ' ' then
      gone[#gone + 1], seen[id] = id, true
    else
      lost[#lost + 1] = i
    end
  end
  if #gone > 0 then
    put('HDEL', ACTIVE, gone)
    put('ZREM', LEASE_END, gone)
    put('HDEL', JOB, gone)
    if call('EXISTS', STATE, ABORT) > 0 then
      put('HDEL', STATE, gone)
      put('SREM', ABORT, gone)
    end
  end
  return lost
end
`

export const settle = String.raw`
local function has(id, fence)
  local value = call('HGET', ACTIVE, id)
  return value and string.sub(value, 1, #fence + 1) == fence .. ' '
end

local function settleOne(item, front)
  local runner = owner(item.id)
  if not runner or runner.fence ~= item.fence then return 'Lost' end
  call('HDEL', ACTIVE, item.id)
  call('ZREM', LEASE_END, item.id)
  local job = load(item.id)
  if not job then return 'Lost' end
  local state, attempt = job.state, spent(job) + 1
  job.runs = job.group ~= nil
  local aborted = item.t == 'Retry' and call('SISMEMBER', ABORT, item.id) == 1
  if item.t ~= 'Retry' or aborted then stopped(job) end
  if item.t == 'Complete' then
    finish(job, attempt, item.how, item.how, runner, item.reason, item.reason, item.exit)
    return 'Settled'
  elseif item.t == 'Dead' then
    state.err = item.error
    finish(job, attempt, 'dead', 'dead', runner, item.reason, item.error or item.reason, item.exit)
    return 'Settled'
  elseif aborted then
    state.err = item.error
    finish(job, attempt, 'aborted', 'aborted', runner, 'abort requested', item.error)
    return 'Aborted'
  end
  happened(job, item.why, attempt, runner.worker, item.error)
  if item.spent then state.n = attempt end
  if not item.unbegun then
    state.u, state.lw, state.lc = nil, nil, nil
  elseif job.key and job.scope == 'started' and not holder(job.key) then
    -- its claim gave the key back, and it has not started
    takeKey(job)
  end
  if item.why == 'failed' and not state.ff then state.ff = NOW end
  state.err = item.error or state.err
  local due = item.after > 0 and later(item.after) or nil
  local to = item.to
  if to and to.i > 0 and not isTaken(to, item.id) then
    moveAway(job, to, due, item.front)
    return 'Settled'
  end
  if to then regroup(job, to) end
  if item.front then
    front[#front + 1] = { job = job, due = due }
  else
    if not job.group then job.pos = numbers(1) end
    save(job)
    enter(job, due)
  end
  return 'Settled'
end

local function settleAll(items)
  local answers, front = {}, {}
  for i, item in ipairs(items) do answers[i] = settleOne(item, front) end
  local jobs = {}
  for i, back in ipairs(front) do jobs[i] = back.job end
  toFront(jobs)
  for _, back in ipairs(front) do
    save(back.job)
    enter(back.job, back.due)
  end
  flush()
  return answers
end
`

export const reclaim = String.raw`
-- puts up to so many jobs whose owner let the lease run out at the front
local function reclaim(max)
  local expired = call('ZRANGEBYSCORE', LEASE_END, '-inf', NOW, 'LIMIT', 0, max, 'WITHSCORES')
  if #expired == 0 then return end
  local jobs = {}
  for i = 1, #expired, 2 do
    local id = expired[i]
    local runner = owner(id)
    call('ZREM', LEASE_END, id)
    call('HDEL', ACTIVE, id)
    local job = load(id)
    if job then
      job.ended, job.runner = tonumber(expired[i + 1]), runner
      jobs[#jobs + 1] = job
    end
  end
  table.sort(jobs, function(a, b)
    if a.ended ~= b.ended then return a.ended < b.ended end
    return a.num < b.num
  end)
  toFront(jobs)
  for _, job in ipairs(jobs) do
    local runner, state = job.runner, job.state
    happened(job, 'lost', spent(job) + 1, runner and runner.worker)
    state.u = (state.u or 0) + 1
    state.lw, state.lc = runner and runner.worker, runner and runner.claimed
    save(job)
    job.runs = job.group ~= nil
    enter(job)
  end
  flush()
end
`

export const claim = String.raw`
-- a fence that no hand-out of this queue had before, also when the server forgot the last moments in a crash
local function newFence(last)
  local fence = math.max(clock[1] * 1000000 + clock[2], (tonumber(last) or 0) + 1)
  call('HSET', META, 'fence', int(fence))
  return int(fence)
end

local none = { '', {}, {}, {}, {} }

local function firstOf(key)
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  return first[2] and tonumber(first[2]) or math.huge
end

-- what was claimed, when something is due or a lease ends, and whether something is ready still
local function claim(worker, max, last)
  local due, ends = firstOf(SCHED), firstOf(LEASE_END)
  if due <= NOW or ends <= NOW then
    rest().promote(1000)
    rest().reclaim(200)
    due, ends = firstOf(SCHED), firstOf(LEASE_END)
  end
  local fence, owned, until_, left, hasStates, hasAborts
  local ids, records, since, stops, owners, leases, gone = {}, {}, {}, {}, {}, {}, {}
  local dropped, before = 0
  repeat
    before = dropped
    local popped = call('ZPOPMIN', READY, max - #ids)
    left = #popped == 2 * (max - #ids)
    if #popped == 0 then break end
    local wanted = {}
    for i = 1, #popped, 2 do wanted[#wanted + 1] = string.sub(popped[i], 8) end
    local found = get('HMGET', JOB, wanted)
    local some = call('EXISTS', STATE, ABORT) > 0
    local states, aborts = some and get('HMGET', STATE, wanted), some and get('SMISMEMBER', ABORT, wanted)
    hasStates, hasAborts = hasStates or states, hasAborts or aborts
    for i, id in ipairs(wanted) do
      local record = found[i]
      local job = record and string.byte(record) == 120 and rest().parse(id, record)
      local spot = job and job.group and struct.pack('>I3', job.rank + 32768) .. popped[2 * i - 1]
      if not record or (spot and not rest().started(job, spot)) then
        dropped = dropped + 1
      else
        if not fence then
          fence, until_ = newFence(last), int(NOW + LEASE)
          owned = fence .. ' ' .. int(NOW) .. ' ' .. worker
        end
        local n = #ids + 1
        ids[n], records[n] = id, record
        since[n] = states and states[i] or ''
        stops[n] = aborts and aborts[i] or 0
        owners[2 * n - 1], owners[2 * n] = id, owned
        leases[2 * n - 1], leases[2 * n] = until_, id
        if spot then gone[#gone + 1] = rest().inGroup(job.group) .. spot end
        if job and job.scope == 'started' then rest().freeKey(job) end
      end
    end
    -- for those that had no turn any more others are taken, but not without end
  until dropped == before or dropped > 1000
  left = left and call('EXISTS', READY) == 1
  if #ids == 0 then
    if call('EXISTS', KEPT, WINDOW) > 0 then rest().sweep(100) end
    return none, math.min(due, ends), left
  end
  put('ZREM', WAITING, gone)
  put('HSET', ACTIVE, owners)
  put('ZADD', LEASE_END, leases)
  return { fence, ids, records, hasStates and since or {}, hasAborts and stops or {} }, math.min(due, ends, NOW + LEASE), left
end
`

/** answers: indexes of lost successes, answers of the others, the claim, milliseconds until something is due, whether more
 * is ready (2: the claim found nothing and has not looked at everything), the server's time */
export const exchange = String.raw`
-- the arguments begin at that index, and are the last ones
local function exchange(from)
  local worker, max, till, count = ARGV[from], tonumber(ARGV[from + 1]), tonumber(ARGV[from + 2]), tonumber(ARGV[from + 3])
  from = from + 4
  if #ARGV ~= from + 2 * count then return redis.error_reply('ERR the arguments are not those of this script') end
  local lost = count > 0 and succeed(from, count) or {}
  local others = ARGV[from + 2 * count]
  local answers = others ~= '' and rest().settleAll(cjson.decode(others)) or {}
  if max < 1 then
    if made then made.tell() end
    return { lost, answers }
  end
  -- a client that lost the connection sends what it kept when it is back: jobs are not handed out to nobody
  local late = till > 0 and NOW > till
  local meta = call('HMGET', META, 'paused', 'fence')
  local claimed, soon, left = none, math.huge, false
  if late then
    left = not meta[1] and call('EXISTS', READY) == 1
  elseif not meta[1] then
    claimed, soon, left = claim(worker, max, meta[2])
  end
  local more = left or soon <= NOW
  -- one who waits elsewhere looks at what is left, and wakes the next
  if more then call('ZADD', WAKE, 0, '0') else call('DEL', WAKE) end
  if made then made.tell(true) end
  return {
    lost, answers, claimed, soon == math.huge and -1 or math.max(0, soon - NOW),
    more and (claimed == none and not late and 2 or 1) or 0, NOW
  }
end
`

export const exchangeAll = `return exchange(${first})`

/**
 * A publish with the exchange that comes right behind it. Own arguments: how many are those of the publish, those, and those
 * of the exchange, which claims. Answers: those of both.
 */
export const publishAndExchange = String.raw`
local to = ${first} + tonumber(ARGV[${first}])
return { publish(${first + 1}, to, true), exchange(to + 1) }
`
