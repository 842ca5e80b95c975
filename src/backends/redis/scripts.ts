/**
 * The scripts, put together: what each one needs, then its own lines. A script is known to the server by its hash, and is
 * sent whole when the server does not have it (after a restart, `SCRIPT FLUSH`, on another node).
 *
 * @since 0.1.0
 */
import { createHash } from "node:crypto"
import { base, jobs, lazily } from "./lua/base.ts"
import { ending, keys } from "./lua/ending.ts"
import * as Exchange from "./lua/exchange.ts"
import { groups } from "./lua/groups.ts"
import * as Inspect from "./lua/inspect.ts"
import * as Leader from "./lua/leader.ts"
import * as Operations from "./lua/operations.ts"
import { moves, place } from "./lua/place.ts"
import { advance, any, publish, publishAll } from "./lua/publish.ts"
import { reroute } from "./lua/reroute.ts"

export interface Script {
  readonly lua: string
  readonly sha: string
}

const script = (...parts: ReadonlyArray<string>): Script => {
  const lua = parts.join("\n")
  return { lua, sha: createHash("sha1").update(lua).digest("hex") }
}

const rest = [jobs, place, groups, moves, keys, ending]
const whole = [base, ...rest]

const storing = [base, lazily(["publishAny"], ...rest, any), publish]
const inExchange = ["settleAll", "reclaim", "promote", "parse", "started", "inGroup", "freeKey", "sweep", "tell"]
const settling = [reroute, Exchange.settle, Exchange.reclaim]
const exchanging = [Exchange.successes, Exchange.claim, Exchange.exchange]

/** of one queue: they get all of its keys */
export const scripts = {
  publish: script(...storing, publishAll),
  advance: script(...storing, advance),
  exchange: script(base, lazily(inExchange, ...rest, ...settling), ...exchanging, Exchange.exchangeAll),
  publishAndExchange: script(
    base,
    lazily(["publishAny", ...inExchange], ...rest, any, ...settling),
    publish,
    ...exchanging,
    Exchange.publishAndExchange
  ),
  extend: script(base, Operations.extend),
  cancel: script(...whole, Operations.cancel),
  pause: script(base, jobs, Operations.pause),
  progress: script(...whole, reroute, Exchange.settle, Operations.progress),
  revive: script(...whole, Operations.revive),
  deadPage: script(...whole, Operations.deadPage),
  youngestDead: script(base, Operations.youngestDead),
  purge: script(...whole, Operations.purge),
  retention: script(...whole, Operations.retention),
  records: script(...whole, Inspect.records),
  scan: script(base, Inspect.scan),
  counts: script(...whole, Inspect.counts),
  result: script(base, Inspect.result)
} as const

/** of the prefix */
export const seats = {
  sit: script(Leader.sit),
  renew: script(Leader.renew),
  giveUp: script(Leader.giveUp)
} as const
