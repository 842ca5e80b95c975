/**
 * Where a waiting job stands, and the moves between these places.
 *
 * A position is text of which the order is that of the numbers in it. Jobs of no group stand in `ready` or in `sched`.
 *
 * @since 0.1.0
 */
export const place = String.raw`
-- rank (3 bytes), position (7 bytes), id
local function spotOf(rank, pos, id) return struct.pack('>I3', rank + 32768) .. position(pos) .. id end
local function rankOf(spot) return struct.unpack('>I3', spot) - 32768 end
-- members of ready leave out the rank, which is their score; members of sched say whether they are in a group
local function inReady(spot) return string.sub(spot, 4) end
local function inSched(spot, group)
  return string.sub(spot, 1, 10) .. (group and 'g' or '-') .. string.sub(spot, 11)
end

-- filled, then stored at once
local pending, grew, earliest, sooner = {}, false, nil, false

local function flush()
  if #pending == 0 then return end
  put('ZADD', READY, pending)
  pending = {}
end

local function ready(spot)
  pending[#pending + 1] = rankOf(spot)
  pending[#pending + 1] = inReady(spot)
  grew = true
end

local function schedule(spot, group, due)
  if earliest == nil then
    -- 0 is no time of a job
    local first = call('ZRANGEBYSCORE', SCHED, '(0', '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    earliest = first[2] and tonumber(first[2]) or math.huge
  end
  if due < earliest then earliest, sooner = due, true end
  call('ZADD', SCHED, int(due), inSched(spot, group))
end
`

/** after those of `groups.ts` */
export const moves = String.raw`
-- a job that is in no place. Its group gets that limit; else it keeps its own, or gets the job's when nobody knew it
local function enter(job, due, limit)
  local spot = spotOf(job.rank, job.pos, job.id)
  if due then schedule(spot, job.group, due) end
  if job.group then
    join(job, spot, due, limit)
  elseif not due then
    ready(spot)
  end
end

-- a job out of wherever it waits
local function leave(job)
  local spot = spotOf(job.rank, job.pos, job.id)
  call('ZREM', SCHED, inSched(spot, job.group))
  call('ZREM', READY, inReady(spot))
  if job.group then quit(job, spot) end
end

-- positions before all others, in the order given; a member of a group keeps its place in the group
local function toFront(jobs)
  if #jobs == 0 then return end
  local last = numbers(#jobs)
  for i, job in ipairs(jobs) do
    if not job.group then job.pos = -(last + #jobs - i) end
  end
end

-- moves up to so many jobs that are due among the ready
local function promote(max)
  local due = call('ZRANGEBYSCORE', SCHED, '-inf', NOW, 'LIMIT', 0, max)
  if #due == 0 then return end
  put('ZREM', SCHED, due)
  for _, member in ipairs(due) do
    local kind, rest = string.sub(member, 11, 11), string.sub(member, 12)
    local spot = string.sub(member, 1, 10) .. rest
    if kind == '-' then
      ready(spot)
    elseif kind == 'g' then
      local record = call('HGET', JOB, rest)
      if record and hasTurn(parse(rest, record), spot) then ready(spot) end
    else
      owed(rest)
    end
  end
  flush()
end

-- tells those who wait: one of them about what is ready, unless the claim did, all when something is due sooner than they know
local function tell(claimed)
  flush()
  keepLanes()
  if grew and not claimed and call('HEXISTS', META, 'paused') == 0 then call('ZADD', WAKE, 0, '0') end
  if sooner then hint('q', QUEUE) end
end
`
