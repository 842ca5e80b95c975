/**
 * What every script of a queue begins with: names for its keys and common arguments, the server's time; and the reading and
 * writing of jobs.
 *
 * @since 0.1.0
 */
import { names } from "../keys.ts"

/** the arguments that every script of a queue gets before its own */
export const common = ["CHANNEL", "QUEUE", "LEASE", "FAILURES", "SUCCESSES"] as const

/** index of a script's own first argument */
export const first = common.length + 1

export const base = `
local ${names.map((name) => name === "lease" ? "LEASE_END" : name.toUpperCase()).join(", ")} = unpack(KEYS)
local ${common.join(", ")} = unpack(ARGV, 1, ${common.length})
LEASE, FAILURES, SUCCESSES = tonumber(LEASE), tonumber(FAILURES), tonumber(SUCCESSES)
` + String.raw`
local call = redis.call
local clock = call('TIME')
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)
local LAST = 8640000000000000

-- a whole number as text: Lua writes large ones with an exponent
local function int(n) return string.format('%.0f', n) end

local function later(millis) return math.min(math.ceil(NOW + millis), LAST) end

-- the first of n new numbers
local function numbers(n) return call('HINCRBY', META, 'seq', n) - n + 1 end

-- commands of many arguments, in pieces that Lua's stack holds
local function put(command, key, list)
  for i = 1, #list, 1000 do call(command, key, unpack(list, i, math.min(i + 999, #list))) end
end

local function get(command, key, list)
  if #list == 0 then return {} end
  if #list <= 1000 then return call(command, key, unpack(list)) end
  local all, n = {}, 0
  for i = 1, #list, 1000 do
    local part = call(command, key, unpack(list, i, math.min(i + 999, #list)))
    for j = 1, #part do
      n = n + 1
      all[n] = part[j]
    end
  end
  return all
end

local function position(pos) return struct.pack('>I7', pos + 1125899906842624) end
`

/**
 * What most calls do without: it is made by the first one that asks for it. On a server that has been idle the functions of
 * a whole script cost more to make than a plain job costs to store or to claim.
 */
export const lazily = (names: ReadonlyArray<string>, ...parts: ReadonlyArray<string>): string => `
local made
local function rest()
  if made then return made end
${parts.join("\n")}
  made = { ${names.map((name) => `${name} = ${name}`).join(", ")} }
  return made
end
`

export const jobs = String.raw`
-- the parts of a record that scripts look at; the payload is not touched
local function parse(id, record)
  local kind, num, enqueued, scheduled, rank, keep = string.match(record, '^(.)(%d+) (%d+) (%d+) (%-?%d+) (%-?%d+)\n')
  local job = {
    id = id, num = tonumber(num), enqueued = tonumber(enqueued), rank = tonumber(rank), keep = tonumber(keep), limit = 1
  }
  job.pos = job.num
  local own = string.match(record, '^[^\n]*\n([^\n]*)\n')
  if own ~= '' then
    own = cjson.decode(own)
    job.group, job.limit, job.key, job.scope = own.g, own.l or 1, own.k, own.u
  end
  return job
end

-- a job with what happened to it since it was published
local function load(id, record)
  record = record or call('HGET', JOB, id)
  if not record then return nil end
  local job = parse(id, record)
  local state = call('HGET', STATE, id)
  job.state = state and cjson.decode(state) or {}
  job.pos = job.state.pos or job.num
  return job
end

local function save(job)
  if job.pos ~= job.num then job.state.pos = job.pos end
  if next(job.state) == nil then call('HDEL', STATE, job.id) else call('HSET', STATE, job.id, cjson.encode(job.state)) end
end

-- a job that is snoozed for ever must not grow for ever: only its latest events are kept
local function happened(job, event, attempt, worker, detail)
  local history = job.state.h or {}
  history[#history + 1] = { t = NOW, e = event, a = attempt, w = worker, d = detail }
  if #history > 256 then table.remove(history, 1) end
  job.state.h = history
end

local function spent(job) return job.state.n or 0 end

-- who runs a job: fence, time of the claim, worker
local function owner(id)
  local value = call('HGET', ACTIVE, id)
  if not value then return nil end
  local fence, claimed, worker = string.match(value, '^(%d+) (%d+) (.*)$')
  return { fence = fence, claimed = tonumber(claimed), worker = worker }
end

local function hint(...) call('PUBLISH', CHANNEL, cjson.encode({ ... })) end
`
