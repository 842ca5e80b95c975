/**
 * A job that goes back to another place than it came from. Within its queue its record is written again; to another queue
 * it leaves without a trace and arrives as the youngest there. The keys of the queues that jobs of a call go to come after
 * the call's own, and everything else here works on whatever queue is switched to.
 *
 * @since 0.1.0
 */
import { names } from "../keys.ts"

const locals = names.map((name) => name === "lease" ? "LEASE_END" : name.toUpperCase()).join(", ")

export const reroute = `
local function switch(index, queue)
  ${locals} = unpack(KEYS, index * ${names.length} + 1, (index + 1) * ${names.length})
  QUEUE = queue
end
` + String.raw`
-- runs on another queue, whose signals are its own
local function elsewhere(to, run)
  flush()
  local own, kept = QUEUE, { grew, earliest, sooner, lanes }
  switch(to.i, to.q)
  grew, earliest, sooner, lanes = false, nil, false, {}
  local answer = run()
  tell()
  switch(0, own)
  grew, earliest, sooner, lanes = kept[1], kept[2], kept[3], kept[4]
  return answer
end

-- whether a job with this id lives there, or is a dead letter; one that is merely kept makes room
local function isTaken(to, id)
  return elsewhere(to, function()
    if call('HEXISTS', JOB, id) == 0 then return false end
    local past = endOf(id)
    if not past or (past.s == 'dead' and past.e > NOW) then return true end
    forget(id)
    return false
  end)
end

-- the record with the job's number, rank and group
local function rewritten(job, record)
  local enqueued, scheduled, keep, own, rest =
    string.match(record, '^.%d+ (%d+) (%d+) %-?%d+ (%-?%d+)\n([^\n]*)\n(.*)$')
  local marks = own ~= '' and cjson.decode(own) or {}
  marks.g = job.group
  own = next(marks) and cjson.encode(marks) or ''
  local plain = not job.group and keep == '-1' and (not job.key or type(job.scope) == 'number')
  return (plain and 'p' or 'x') .. int(job.num) .. ' ' .. enqueued .. ' ' .. scheduled .. ' ' .. int(job.rank) .. ' ' .. keep
    .. '\n' .. own .. '\n' .. rest
end

-- the job is in no place, and counts as one of its group that runs
local function regroup(job, to)
  local record = call('HGET', JOB, job.id)
  if to.r then job.rank = to.r end
  if to.rg and to.g ~= job.group then
    stopped(job)
    job.group = to.g
    job.pos = numbers(1)
  end
  call('HSET', JOB, job.id, rewritten(job, record))
end

local function moveAway(job, to, due, front)
  local id, record = job.id, call('HGET', JOB, job.id)
  local held = job.key and call('HGET', UKEY, job.key) == 'j' .. int(job.num) .. ' ' .. id
  if held then freeKey(job) end
  stopped(job)
  call('HDEL', JOB, id)
  call('HDEL', STATE, id)
  elsewhere(to, function()
    job.num = numbers(1)
    job.pos = front and -job.num or job.num
    job.state.pos = nil
    if to.r then job.rank = to.r end
    if to.rg then job.group = to.g end
    call('HSET', JOB, id, rewritten(job, record))
    save(job)
    -- another may have it there: then the job goes on without it
    if held and not holder(job.key) then takeKey(job) end
    enter(job, due)
  end)
end
`
