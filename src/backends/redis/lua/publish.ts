/**
 * Storing a batch, and moving a cursor with it. Own arguments of a publish: whether it is atomic, then for each item its id, its numbers (rank, milliseconds that
 * the result is kept or -1, `+` and a delay or `@` and a time), what scripts need to know of group and key (JSON or
 * nothing), and the rest of the record.
 *
 * Answers with one text per item: empty when stored, `s` when skipped, `d` and the id of the live job.
 *
 * @since 0.1.0
 */
import { first } from "./base.ts"

export const any = String.raw`
-- the arguments begin at that index; the first number, the ids, and what is there with them
local function publishAny(from, num, ids, there)
  local ATOMIC = ARGV[from] == '1'
  local FIRST, count = from + 1, #ids
  local answers, items, clash = {}, {}, false
  local sawId, sawKey = {}, {}

  -- whether a job with this id stands in the way; one that has ended and is merely kept makes room
  local function isLive(id)
    local past = endOf(id)
    return not past or (past.s == 'dead' and past.e > NOW)
  end

  for i = 1, count do
    local at, id = FIRST + (i - 1) * 4, ids[i]
    local own = ARGV[at + 2]
    own = own ~= '' and cjson.decode(own) or {}
    local existing
    if sawId[id] or (there[i] and isLive(id)) then
      existing = id
    elseif own.k then
      existing = sawKey[own.k] or holder(own.k)
    end
    if existing then
      answers[i], clash = 'd' .. existing, true
    else
      answers[i] = ''
      sawId[id] = true
      if own.k and (type(own.u) ~= 'number' or own.u > 0) then sawKey[own.k] = id end
      items[#items + 1] = { i = i, at = at, id = id, own = own }
    end
  end

  if clash and ATOMIC then
    for i = 1, count do if answers[i] == '' then answers[i] = 's' end end
    return answers
  end

  local records = {}
  for _, item in ipairs(items) do
    local at, id, own = item.at, item.id, item.own
    if there[item.i] then forget(id) end
    local rank, keep, kind, amount = string.match(ARGV[at + 1], '^(%-?%d+) (%-?%d+) (.)(%-?%d+)$')
    amount = tonumber(amount)
    local due = kind == '+' and later(amount) or math.min(amount, LAST)
    if due <= NOW then due = nil end
    local job = {
      id = id, num = num + item.i - 1, rank = tonumber(rank), group = own.g, limit = own.l or 1, key = own.k,
      scope = own.u
    }
    job.pos = job.num
    local plain = not job.group and keep == '-1' and (not job.key or type(job.scope) == 'number')
    records[#records + 1] = id
    records[#records + 1] = (plain and 'p' or 'x') .. int(job.num) .. ' ' .. int(NOW) .. ' ' .. int(due or 0) .. ' ' .. rank
      .. ' ' .. keep .. '\n' .. ARGV[at + 2] .. '\n' .. ARGV[at + 3]
    if job.key then takeKey(job) end
    enter(job, due, job.limit)
  end
  put('HSET', JOB, records)
  tell()
  return answers
end
`

export const publish = String.raw`
-- the arguments begin at that index
local function publish(from)
  local ids, places, records, answers, seen = {}, {}, {}, {}, {}
  local count = (#ARGV - from) / 4
  -- the first write: a server that is out of memory refuses it, and then nothing was stored
  local num = numbers(count)
  for i = 1, count do ids[i] = ARGV[from + 4 * i - 3] end
  local there = get('HMGET', JOB, ids)
  for i, id in ipairs(ids) do
    local at, n = from + 4 * i - 3, num + i - 1
    local rank, keep = string.match(ARGV[at + 1], '^(%-?%d+) (%-?%d+) %+0$')
    -- delayed, in a group, with a key, or with an id that is known
    if not rank or ARGV[at + 2] ~= '' or there[i] or seen[id] then return rest().publishAny(from, num, ids, there) end
    answers[i], seen[id] = '', true
    places[2 * i - 1], places[2 * i] = rank, position(n) .. id
    records[2 * i - 1] = id
    records[2 * i] = (keep == '-1' and 'p' or 'x') .. int(n) .. ' ' .. int(NOW) .. ' 0 ' .. rank .. ' ' .. keep .. '\n\n'
      .. ARGV[at + 3]
  end
  put('ZADD', READY, places)
  put('HSET', JOB, records)
  if count > 0 and call('HEXISTS', META, 'paused') == 0 then call('ZADD', WAKE, 0, '0') end
  return answers
end
`

export const publishAll = `return publish(${first})`

/**
 * Own arguments: the cursor's name, where it has to stand (or nothing), where it is to go, then those of a publish.
 * Answers: 1 and the answers of the publish; or 0 and where it stands (or nothing).
 */
export const advance = String.raw`
local name, expected, to = ARGV[${first}], ARGV[${first + 1}], ARGV[${first + 2}]
local at = call('HGET', CURSOR, name) or ''
if at ~= expected then return { 0, at } end
local answers = publish(${first + 3})
call('HSET', CURSOR, name, to)
return { 1, answers }
`
