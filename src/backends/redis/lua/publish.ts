/**
 * Storing a batch, and moving a cursor with it. Own arguments of a publish: whether it is atomic, how many arguments
 * an item has, then for each item its id, its numbers (rank, milliseconds that the result is kept or -1, `+` and a delay or
 * `@` and a time), what scripts need to know of group and key (JSON or nothing), and the rest of the record. With two
 * arguments an item has its id and the rest of the record, and there is nothing to say in the others.
 *
 * Answers with nothing when all are stored, else with one text per item: empty when stored, `s` when skipped, `d` and the
 * id of the live job.
 *
 * @since 0.1.0
 */
import { first } from "./base.ts"

export const any = String.raw`
-- the arguments begin at that index; the first number, the ids, and what is there with them
local function publishAny(from, num, ids, there)
  local ATOMIC, WIDTH = ARGV[from] == '1', tonumber(ARGV[from + 1])
  local count = #ids
  local answers, items, clash = {}, {}, false
  local sawId, sawKey = {}, {}

  -- whether a job with this id stands in the way; one that has ended and is merely kept makes room
  local function isLive(id)
    local past = endOf(id)
    return not past or (past.s == 'dead' and past.e > NOW)
  end

  -- the last argument of an item
  local function last(i) return from + 1 + WIDTH * i end

  for i = 1, count do
    local id, own = ids[i], WIDTH == 4 and ARGV[last(i) - 1] or ''
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
      items[#items + 1] = { i = i, id = id, own = own }
    end
  end

  if clash and ATOMIC then
    for i = 1, count do if answers[i] == '' then answers[i] = 's' end end
    return answers
  end

  local records = {}
  for _, item in ipairs(items) do
    local id, own, at = item.id, item.own, last(item.i)
    if there[item.i] then forget(id) end
    local rank, keep, kind, amount =
      string.match(WIDTH == 4 and ARGV[at - 2] or '0 -1 +0', '^(%-?%d+) (%-?%d+) (.)(%-?%d+)$')
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
      .. ' ' .. keep .. '\n' .. (WIDTH == 4 and ARGV[at - 1] or '') .. '\n' .. ARGV[at]
    if job.key then takeKey(job) end
    enter(job, due, job.limit)
  end
  put('HSET', JOB, records)
  tell()
  return answers
end
`

export const publish = String.raw`
-- the arguments are those from the one index to the other. claims: who is told of what is ready takes it now
local function publish(from, to, claims)
  local WIDTH = tonumber(ARGV[from + 1])
  local ids, places, records, seen = {}, {}, {}, {}
  local count = (to - from - 1) / WIDTH
  -- the first write: a server that is out of memory refuses it, and then nothing was stored
  local num = numbers(count)
  for i = 1, count do ids[i] = ARGV[from + 2 + WIDTH * (i - 1)] end
  local there = get('HMGET', JOB, ids)
  local stem = ' ' .. int(NOW) .. ' 0 '
  local plain = stem .. '0 -1\n\n'
  for i = 1, count do
    local at, id, n = from + 2 + WIDTH * (i - 1), ids[i], num + i - 1
    -- with an id that is known
    if there[i] or seen[id] then return rest().publishAny(from, num, ids, there) end
    local rank, record = '0'
    if WIDTH == 2 then
      record = 'p' .. int(n) .. plain .. ARGV[at + 1]
    else
      local keep
      rank, keep = string.match(ARGV[at + 1], '^(%-?%d+) (%-?%d+) %+0$')
      -- delayed, in a group, or with a key
      if not rank or ARGV[at + 2] ~= '' then return rest().publishAny(from, num, ids, there) end
      record = (keep == '-1' and 'p' or 'x') .. int(n) .. stem .. rank .. ' ' .. keep .. '\n\n' .. ARGV[at + 3]
    end
    seen[id] = true
    places[2 * i - 1], places[2 * i] = rank, position(n) .. id
    records[2 * i - 1], records[2 * i] = id, record
  end
  put('ZADD', READY, places)
  put('HSET', JOB, records)
  if count > 0 and not claims and call('HEXISTS', META, 'paused') == 0 then call('ZADD', WAKE, 0, '0') end
  return {}
end
`

export const publishAll = `return publish(${first}, #ARGV)`

/**
 * Own arguments: the cursor's name, where it has to stand (or nothing), where it is to go, then those of a publish.
 * Answers: 1 and the answers of the publish; or 0 and where it stands (or nothing).
 */
export const advance = String.raw`
local name, expected, to = ARGV[${first}], ARGV[${first + 1}], ARGV[${first + 2}]
local at = call('HGET', CURSOR, name) or ''
if at ~= expected then return { 0, at } end
local answers = publish(${first + 3}, #ARGV)
call('HSET', CURSOR, name, to)
return { 1, answers }
`
