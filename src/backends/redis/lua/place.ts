/**
 * Where a waiting job stands, and the moves between these places.
 *
 * A position is text of which the order is that of the numbers in it. Groups: members run one at a time, by rank, then
 * position. All that wait stand in `waiting`, scheduled ones too; the head stands in `ready` as well when it is not
 * scheduled and no other runs, and that is the group's turn. So a claim never looks at groups.
 *
 * @since 0.1.0
 */
export const place = String.raw`
-- rank (3 bytes), position (7 bytes), id
local function spotOf(rank, pos, id) return struct.pack('>I3I7', rank + 32768, pos + 1125899906842624) .. id end
local function rankOf(spot) return struct.unpack('>I3', spot) - 32768 end
-- members of ready leave out the rank, which is their score; members of sched say whether they are in a group
local function inReady(spot) return string.sub(spot, 4) end
local function inSched(spot, group)
  return string.sub(spot, 1, 10) .. (group and 'g' or '-') .. string.sub(spot, 11)
end
local function inGroup(group) return struct.pack('>I4', #group) .. group end

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
    local first = call('ZRANGE', SCHED, 0, 0, 'WITHSCORES')
    earliest = first[2] and tonumber(first[2]) or math.huge
  end
  if due < earliest then earliest, sooner = due, true end
  call('ZADD', SCHED, int(due), inSched(spot, group))
end

-- gives the turn to whom it belongs now
local function refresh(group)
  local lane = call('HGET', LANE, group)
  if lane == 'r' then return end
  local prefix = inGroup(group)
  local head = call('ZRANGEBYLEX', WAITING, '[' .. prefix, '(' .. prefix .. '\255', 'LIMIT', 0, 1)[1]
  head = head and string.sub(head, #prefix + 1)
  if head and call('ZSCORE', SCHED, inSched(head, true)) then head = nil end
  local turn = lane and string.sub(lane, 2) or nil
  if turn == head then return end
  if turn then call('ZREM', READY, inReady(turn)) end
  if head then
    call('ZADD', READY, rankOf(head), inReady(head))
    call('HSET', LANE, group, 't' .. head)
    grew = true
  else
    call('HDEL', LANE, group)
  end
end

-- the member was claimed, so it has left ready already
local function started(group, spot)
  call('ZREM', WAITING, inGroup(group) .. spot)
  call('HSET', LANE, group, 'r')
end

-- the running member stopped running; the next one has its turn with the refresh or enter that follows
local function stopped(group) call('HDEL', LANE, group) end

-- a job that is in no place
local function enter(job, due)
  local spot = spotOf(job.rank, job.pos, job.id)
  if due then schedule(spot, job.group, due) end
  if job.group then
    call('ZADD', WAITING, 0, inGroup(job.group) .. spot)
    refresh(job.group)
  elseif not due then
    ready(spot)
  end
end

-- a job out of wherever it waits
local function leave(job)
  local spot = spotOf(job.rank, job.pos, job.id)
  call('ZREM', SCHED, inSched(spot, job.group))
  if job.group then
    call('ZREM', WAITING, inGroup(job.group) .. spot)
    refresh(job.group)
  else
    call('ZREM', READY, inReady(spot))
  end
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
    local id = string.sub(member, 12)
    if string.sub(member, 11, 11) == 'g' then
      local record = call('HGET', JOB, id)
      if record then refresh(parse(id, record).group) end
    else
      ready(string.sub(member, 1, 10) .. id)
    end
  end
  flush()
end

-- tells those who wait: one of them about what is ready, all of them when something is due sooner than they know
local function tell()
  flush()
  if grew and call('HEXISTS', META, 'paused') == 0 then call('ZADD', WAKE, 0, '0') end
  if sooner then hint('q', QUEUE) end
end
`
