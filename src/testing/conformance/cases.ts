/**
 * All cases, in the order in which they run: the simple ones first, so that the first failure is the one to look at.
 *
 * @since 0.1.0
 */
import { cancel } from "./cases/cancel.ts"
import { core } from "./cases/core.ts"
import { cursor } from "./cases/cursor.ts"
import { deadLetter } from "./cases/deadLetter.ts"
import { delay } from "./cases/delay.ts"
import { fence } from "./cases/fence.ts"
import { groupLimit } from "./cases/groupLimit.ts"
import { groupMoves } from "./cases/groupMoves.ts"
import { groups } from "./cases/groups.ts"
import { inspect } from "./cases/inspect.ts"
import { leader } from "./cases/leader.ts"
import { lease } from "./cases/lease.ts"
import { load } from "./cases/load.ts"
import { order } from "./cases/order.ts"
import { pause } from "./cases/pause.ts"
import { random } from "./cases/random.ts"
import { reroute } from "./cases/reroute.ts"
import { results } from "./cases/results.ts"
import { transactional } from "./cases/transactional.ts"
import { unique } from "./cases/unique.ts"
import { waiting } from "./cases/waiting.ts"
import type { Case } from "./harness.ts"

export const all: ReadonlyArray<Case> = [
  ...core,
  ...order,
  ...delay,
  ...fence,
  ...lease,
  ...waiting,
  ...unique,
  ...groups,
  ...groupLimit,
  ...groupMoves,
  ...cancel,
  ...results,
  ...inspect,
  ...pause,
  ...deadLetter,
  ...leader,
  ...cursor,
  ...reroute,
  ...transactional,
  ...load,
  ...random
]
