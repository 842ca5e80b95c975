/**
 * The scripts of what is asked for now and then: heartbeats, cancelling, pausing, dead letters, retention.
 *
 * @since 0.1.0
 */
import { first } from "./base.ts"

/** own arguments: for each receipt its id and fence. Answers: 0 lost, 1 held, 2 held and asked to stop */
export const extend = String.raw`
local ids, fences, answers, held = {}, {}, {}, {}
for i = ${first}, #ARGV, 2 do
  ids[#ids + 1], fences[#fences + 1] = ARGV[i], ARGV[i + 1]
end
local owners = get('HMGET', ACTIVE, ids)
local aborts = call('EXISTS', ABORT) == 1 and get('SMISMEMBER', ABORT, ids)
local until_ = int(NOW + LEASE)
-- a server that is out of memory lets a script write whose first write needs none: heartbeats go on
call('ZREM', LEASE_END, '')
for i, id in ipairs(ids) do
  if owners[i] and string.sub(owners[i], 1, #fences[i] + 1) == fences[i] .. ' ' then
    held[#held + 1], held[#held + 2] = until_, id
    answers[i] = aborts and aborts[i] == 1 and 2 or 1
  else
    answers[i] = 0
  end
end
put('ZADD', LEASE_END, held)
return answers
`

/** own argument: the id */
export const cancel = String.raw`
local id = ARGV[${first}]
local job = load(id)
if not job then return 'NotFound' end
local past = endOf(id)
if past then return past.e > NOW and 'TooLate' or 'NotFound' end
local runner = owner(id)
if runner then
  call('SADD', ABORT, id)
  hint('a', QUEUE, id, runner.worker)
  return 'Requested'
end
leave(job)
finish(job, spent(job), 'aborted', 'cancelled', nil, 'cancelled')
tell()
return 'Cancelled'
`

/** own argument: `1` or `0` */
export const pause = String.raw`
if ARGV[${first}] == '1' then
  call('HSET', META, 'paused', '1')
  call('DEL', WAKE)
else
  call('HDEL', META, 'paused')
  if call('EXISTS', READY) == 1 then call('ZADD', WAKE, 0, '0') end
end
hint('q', QUEUE)
return 1
`

/** own arguments: id, fence, value */
export const progress = String.raw`
local id, fence = ARGV[${first}], ARGV[${first + 1}]
if not has(id, fence) then return 0 end
local job = load(id)
if not job then return 0 end
job.state.prog = ARGV[${first + 2}]
save(job)
return 1
`

/** own arguments: ids. Answers how many of them were dead and are not any more */
export const revive = String.raw`
local revived = 0
for i = ${first}, #ARGV do
  local id = ARGV[i]
  local past = endOf(id)
  local job = past and past.s == 'dead' and past.e > NOW and load(id)
  if job then
    happened(job, 'redriven', spent(job))
    call('HDEL', END, id)
    call('ZREM', DEAD, id)
    call('ZREM', KEPT, id)
    -- its key was freed when it died: it takes it again unless another has it by now
    if job.key and type(job.scope) ~= 'number' and not holder(job.key) then takeKey(job) end
    job.state = { h = job.state.h, err = job.state.err, prog = job.state.prog }
    job.pos = numbers(1)
    save(job)
    enter(job)
    revived = revived + 1
  end
end
tell()
return revived
`

/** own arguments: the number after which to look, the greatest number, how many, task as JSON or nothing, reason or
 * nothing (both after `=`), and the age in milliseconds that they must have. Answers: the last number seen or nothing when
 * that was all, then the ids that match */
export const deadPage = String.raw`
local after, last, max = ARGV[${first}], ARGV[${first + 1}], tonumber(ARGV[${first + 2}])
local task, reason, age = ARGV[${first + 3}], ARGV[${first + 4}], tonumber(ARGV[${first + 5}])
local rows = call('ZRANGEBYSCORE', DEAD, '(' .. after, last, 'LIMIT', 0, max, 'WITHSCORES')
local answer = { #rows == 2 * max and rows[#rows] or '' }
for i = 1, #rows, 2 do
  local id = rows[i]
  local past = endOf(id)
  local matches = past and past.e > NOW and (age < 0 or past.f < NOW - age)
  if matches and reason ~= '' then matches = past.r == string.sub(reason, 2) end
  if matches and task ~= '' then
    local record = call('HGET', JOB, id)
    matches = record and string.match(record, '^[^\n]*\n[^\n]*\n([^\n]*)\n') == string.sub(task, 2)
  end
  if matches then answer[#answer + 1] = id end
end
return answer
`

export const youngestDead = String.raw`
return call('ZRANGE', DEAD, -1, -1, 'WITHSCORES')[2] or '0'
`

/** own arguments: ids of dead jobs */
export const purge = String.raw`
local purged = 0
for i = ${first}, #ARGV do
  local past = endOf(ARGV[i])
  if past and past.s == 'dead' then
    forget(ARGV[i])
    purged = purged + 1
  end
end
return purged
`

/** own argument: how many at most */
export const retention = String.raw`
return sweep(tonumber(ARGV[${first}]))
`
