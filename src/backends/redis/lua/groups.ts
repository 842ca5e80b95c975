/**
 * Groups: as many members run at once as the group's limit says, and they start by rank, then position.
 *
 * All members that wait stand in `waiting`, scheduled ones too. The first `limit - running` of them have their turn. Those
 * of them that are not scheduled stand in `ready` as well, so a claim takes them like any other job; a scheduled one holds
 * its slot until it is due. A lane (see `keys.ts`) has the limit, how many run, how many have their turn, and the edge: the
 * place up to which that is so. It is all ones while nobody waits beyond: then whoever comes has a turn without a look.
 *
 * A member that comes or goes moves the edge by one. A new limit may move it far. Turns are then given or taken back so many
 * in one script, and no script walks over more. Those that are still to be given are a mark in `sched`, which the next claim
 * meets as something that is due. Those that are still to be taken back stand in `ready` beyond the edge, where a claim that
 * pops one drops it.
 *
 * @since 0.1.0
 */
export const groups = String.raw`
local function inGroup(group) return struct.pack('>I4', #group) .. group end

local EVERYBODY, NOBODY, MARK = string.rep('\255', 10), string.rep('\0', 10), string.rep('\0', 10) .. 'm'

-- turns that this script may still give or take back
local moves = 1000

-- those of the queue that the script has met; stored when it ends
local lanes = {}

local function laneOf(job)
  local lane = lanes[job.group]
  if lane then return lane end
  local value = call('HGET', LANE, job.group)
  if value then
    local limit, running, turns = struct.unpack('>I4I4I4', value)
    lane = { limit = limit, running = running, turns = turns, edge = string.sub(value, 13) }
  else
    lane = { limit = job.limit or 1, running = 0, turns = 0, edge = EVERYBODY }
  end
  lanes[job.group] = lane
  return lane
end

-- a group without members
local function isEmpty(lane) return lane.running == 0 and lane.turns == 0 and lane.edge == EVERYBODY end

local function keepLanes()
  local kept, gone = {}, {}
  for group, lane in pairs(lanes) do
    if lane.changed then
      lane.changed = false
      if isEmpty(lane) then
        gone[#gone + 1] = group
      else
        kept[#kept + 1] = group
        kept[#kept + 1] = struct.pack('>I4I4I4', lane.limit, lane.running, lane.turns) .. lane.edge
      end
    end
  end
  put('HSET', LANE, kept)
  put('HDEL', LANE, gone)
end

-- by the numbers: Lua compares texts in the order of the server's locale
local function isWithin(spot, edge)
  if edge == EVERYBODY then return true end
  local rank, pos = struct.unpack('>I3I7', spot)
  local lastRank, lastPos = struct.unpack('>I3I7', edge)
  return rank < lastRank or (rank == lastRank and pos <= lastPos)
end

local function hasTurn(job, spot) return isWithin(spot, laneOf(job).edge) end

-- only the first so many keep their turn. The member that comes just now is not among the ready yet
local function takeBack(group, lane, size, comes)
  local lost = lane.turns - size
  lane.turns = size
  if size == 0 and lost == 1 and comes then
    lane.edge = NOBODY
    return
  end
  local prefix, gone = inGroup(group), {}
  local first = call('ZLEXCOUNT', WAITING, '-', '(' .. prefix)
  local rows = call('ZRANGE', WAITING, first + math.max(size - 1, 0), first + size + math.min(lost, math.max(moves, 1)) - 1)
  lane.edge = size == 0 and NOBODY or rows[1] and string.sub(rows[1], #prefix + 1, #prefix + 10) or EVERYBODY
  for i = size == 0 and 1 or 2, #rows do
    local spot = string.sub(rows[i], #prefix + 1)
    if spot ~= comes then gone[#gone + 1] = inReady(spot) end
  end
  if #gone == 0 then return end
  moves = moves - #gone
  flush()
  put('ZREM', READY, gone)
end

-- the next ones have their turn too, so that it is the first so many
local function give(group, lane, size)
  local wanted = math.min(size - lane.turns, moves)
  if wanted > 0 then
    local prefix, spots, times = inGroup(group), {}, {}
    local rows = call('ZRANGEBYLEX', WAITING, '(' .. prefix .. lane.edge .. '\255', '(' .. prefix .. '\255',
      'LIMIT', 0, wanted)
    for i, row in ipairs(rows) do
      spots[i] = string.sub(row, #prefix + 1)
      times[i] = inSched(spots[i], true)
    end
    local due = get('ZMSCORE', SCHED, times)
    for i, spot in ipairs(spots) do
      if not due[i] then ready(spot) end
    end
    moves, lane.turns = moves - #rows, lane.turns + #rows
    lane.edge = #rows < wanted and EVERYBODY or string.sub(spots[#rows], 1, 10)
  end
  if lane.turns < size and lane.edge ~= EVERYBODY then
    call('ZADD', SCHED, 0, MARK .. group)
    grew = true
  end
end

-- after every change: the first limit - running of those who wait have their turn, and nobody else
local function fit(group, lane, comes)
  lane.changed = true
  local size = math.max(0, lane.limit - lane.running)
  if lane.turns > size then
    takeBack(group, lane, size, comes)
  elseif lane.turns < size and lane.edge ~= EVERYBODY then
    give(group, lane, size)
  end
end

local function owed(group) fit(group, laneOf({ group = group })) end

-- a member that ran until now (job.runs) goes on with the group's limit, whatever its own
local function join(job, spot, due, limit)
  local lane = laneOf(job)
  if job.runs then
    job.runs, lane.running = nil, math.max(0, lane.running - 1)
  elseif limit or isEmpty(lane) then
    lane.limit = limit or job.limit
  end
  call('ZADD', WAITING, 0, inGroup(job.group) .. spot)
  local comes = isWithin(spot, lane.edge)
  if comes then lane.turns = lane.turns + 1 end
  fit(job.group, lane, comes and spot)
  if comes and not due and isWithin(spot, lane.edge) then ready(spot) end
end

-- of those that wait
local function quit(job, spot)
  call('ZREM', WAITING, inGroup(job.group) .. spot)
  local lane = laneOf(job)
  if not isWithin(spot, lane.edge) then return end
  lane.turns = math.max(0, lane.turns - 1)
  fit(job.group, lane)
end

-- the member that left ready begins to run: whether it was its turn. Who calls takes it out of those that wait
local function started(job, spot)
  local lane = laneOf(job)
  if not isWithin(spot, lane.edge) then return false end
  lane.running, lane.turns, lane.changed = lane.running + 1, math.max(0, lane.turns - 1), true
  return true
end

-- a member that ran (job.runs) runs no more, and is not in the group any more
local function stopped(job)
  if not job.runs then return end
  local lane = laneOf(job)
  job.runs, lane.running = nil, math.max(0, lane.running - 1)
  fit(job.group, lane)
end
`
