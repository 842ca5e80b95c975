/** A worker's options with every default filled in, durations in milliseconds. */
import * as Duration from "effect/Duration"
import type * as TaskGroup from "../../TaskGroup.ts"
import type { Options } from "../../Worker.ts"
import { uuidV7 } from "../id.ts"
import { queueOf } from "./resolve.ts"

/** @internal */
export interface Settings {
  readonly id: string
  readonly concurrency: number
  readonly queues: ReadonlyMap<string, number>
  readonly drain: boolean
  readonly grace: number
  readonly stuckAfter: number
  readonly poison: number
  readonly unknownFor: number
  readonly pollInterval: number
  readonly callTimeout: number
  readonly observerLimit: number
  readonly claimAhead: boolean
  readonly logJobs: boolean
}

/** What is wrong with them, if anything. @internal */
export const wrongSettings = ({ concurrency, queues }: Settings, asked: Options["queues"]): string | undefined => {
  if (asked !== undefined && queues.size === 0) {
    return "queues names no queue, so it would never claim: name one, or leave the option out to claim from those of the tasks"
  }
  if (!(concurrency >= 1)) return `concurrency ${concurrency} is less than 1: it would never claim`
  if (!isCount(concurrency)) return `concurrency ${concurrency} is no whole number`
  for (const [queue, own] of queues) {
    if (!isCount(own)) return `concurrency ${own} of queue ${queue} is no whole number from 1: leave the queue out`
  }
  return undefined
}

/** one of less than 1, or of no number at all, would wait for ever */
const isCount = (concurrency: number): boolean =>
  concurrency >= 1 && (Number.isInteger(concurrency) || concurrency === Number.POSITIVE_INFINITY)

/** @internal */
export const settingsOf = (group: TaskGroup.TaskGroup<string>, options: Options, now: number): Settings => {
  const concurrency = options.concurrency ?? 10
  const wanted = options.queues ?? Array.from(new Set(group.tasks.map(queueOf)))
  const queues = new Map<string, number>(
    Array.isArray(wanted)
      ? wanted.map((queue: string) => [queue, concurrency])
      : Object.entries(wanted as Record<string, number>).map(([queue, own]) => [queue, Math.min(own, concurrency)])
  )
  const millis = (input: Duration.Input | undefined, otherwise: number) =>
    input === undefined ? otherwise : Duration.toMillis(input)
  return {
    id: options.id ?? `worker-${uuidV7(now)}`,
    concurrency,
    queues,
    drain: options.mode === "drain",
    grace: millis(options.shutdownGrace, 30_000),
    stuckAfter: millis(options.stuckAfter, 10_000),
    poison: options.poisonLimit ?? 5,
    unknownFor: millis(options.unknownFor, 3_600_000),
    pollInterval: millis(options.pollInterval, 0),
    callTimeout: millis(options.callTimeout, 20_000),
    observerLimit: 1_000,
    claimAhead: options.claimAhead ?? true,
    logJobs: options.logJobs ?? true
  }
}
