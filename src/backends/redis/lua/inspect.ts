/**
 * The scripts that look.
 *
 * @since 0.1.0
 */
import { first } from "./base.ts"

/** own arguments: ids. Answers for each with record, state, end, owner, what it is called, and when it is due (or -1); or
 * with nothing */
export const records = String.raw`
local function stateOf(job, due)
  if due > NOW then return 'scheduled' end
  if not job.group then return 'ready' end
  return hasTurn(job, spotOf(job.rank, job.pos, job.id)) and 'ready' or 'blocked'
end

local answers = {}
for i = ${first}, #ARGV do
  local id = ARGV[i]
  local record = call('HGET', JOB, id)
  local past = endOf(id)
  if not record or (past and past.e <= NOW) then
    answers[#answers + 1] = {}
  else
    local job = load(id, record)
    local running = call('HGET', ACTIVE, id)
    local due = tonumber(call('ZSCORE', SCHED, inSched(spotOf(job.rank, job.pos, id), job.group)) or -1)
    answers[#answers + 1] = {
      record,
      call('HGET', STATE, id) or '',
      call('HGET', END, id) or '',
      running or '',
      past and past.s or running and 'active' or stateOf(job, due),
      due
    }
  end
end
return answers
`

/** own arguments: which hash to walk, cursor, how many about. Answers: next cursor, then ids and numbers */
export const scan = String.raw`
local sources = { job = JOB, active = ACTIVE, ['end'] = END }
local source = sources[ARGV[${first}]]
local page = call('HSCAN', source, ARGV[${first + 1}], 'COUNT', ARGV[${first + 2}])
local answer, rows = { page[1] }, page[2]
for i = 1, #rows, 2 do
  local record = source == JOB and rows[i + 1] or call('HGET', JOB, rows[i])
  local num = record and string.match(record, '^.(%d+) ')
  if num then
    answer[#answer + 1] = rows[i]
    answer[#answer + 1] = num
  end
end
return answer
`

/** answers: ready (blocked ones and those that are due included), scheduled, active, dead */
export const counts = String.raw`
sweep(1000)
local scheduled = call('ZCOUNT', SCHED, '(' .. int(NOW), '+inf')
local active = call('HLEN', ACTIVE)
local live = call('HLEN', JOB) - call('HLEN', END)
return { math.max(0, live - active - scheduled), scheduled, active, call('ZCARD', DEAD) }
`

/** own arguments: the id, and whether what is kept for other reasons than its result counts. Answers with how it ended */
export const result = String.raw`
local id, any = ARGV[${first}], ARGV[${first + 1}] == '1'
local value = call('HGET', END, id)
local past = value and cjson.decode(value)
if past and (any and past.e or past.u) > NOW then return value end
return ''
`
