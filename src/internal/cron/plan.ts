/** Checking entries before anything runs, and filling in what they leave open. */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Backend } from "../../Backend.ts"
import type { Entry } from "../../Cron.ts"
import * as Enqueue from "../../Enqueue.ts"
import type { Header } from "../../Header.ts"
import { merge, type Options } from "../options.ts"
import { defaultQueue } from "../producer.ts"
import { make, type Rhythm } from "./rhythm.ts"

/** @internal */
export interface Plan {
  readonly name: string
  readonly queue: string
  readonly rhythm: Rhythm
  readonly singleton: boolean
  readonly max: number
  /** milliseconds */
  readonly olderThan: number | undefined
  /** enqueues the job of one tick */
  readonly enqueue: (
    tick: number
  ) => Effect.Effect<string, Enqueue.EnqueueError | Enqueue.AlreadyEnqueued, Backend>
}

/** missed ticks that are caught up unless an entry says how many */
const defaultMax = 100

/** The plans of the entries; a failure is the name of an entry and a sentence. @internal */
export const plans = (
  entries: ReadonlyArray<Entry<any>>,
  header: Header<Date>,
  now: number
): Effect.Effect<ReadonlyArray<Plan>, readonly [entry: string, message: string]> =>
  Effect.suspend(() => {
    const made: Array<Plan> = []
    for (const entry of entries) {
      const plan = made.some(({ name }) => name === entry.name)
        ? "stands twice in one list: name it once"
        : planOf(entry, header, now)
      if (typeof plan === "string") return Effect.fail([entry.name, `cron ${entry.name}: ${plan}`] as const)
      made.push(plan)
    }
    return Effect.succeed(made)
  })

const planOf = (entry: Entry<any>, header: Header<Date>, now: number): Plan | string => {
  const { catchUp, payload, singleton, task } = entry.options
  const { name } = entry
  if (name === "") return "an entry needs a name"
  const rhythm = make(entry.options, now)
  if (typeof rhythm === "string") return rhythm
  const max = catchUp?.max ?? defaultMax
  if (!(Number.isInteger(max) && max >= 1)) {
    return `catchUp.max is ${max}: give it a whole number from 1, which is the latest tick alone`
  }
  const olderThan = catchUp?.olderThan === undefined ? undefined : Duration.toMillis(catchUp.olderThan)
  if (olderThan !== undefined && !(olderThan > 0)) {
    return `catchUp.olderThan is ${olderThan} ms: every tick is older than that by the time it is seen. Give it more, or ` +
      `leave it out`
  }
  const own = entry.options.enqueue
  const options: Options = own === undefined ? {} : own(Enqueue.fromRun(() => Effect.succeed(""))).options
  if (singleton === true && options.unique !== undefined) {
    return "it is a singleton and has a uniqueBy of its own, and a job has one key: leave one of them out"
  }
  // what it needs otherwise is among the needs of its entry
  const enqueue = (tick: number): ReturnType<Plan["enqueue"]> =>
    Effect.suspend((): Effect.Effect<any, any, any> => {
      const date = new Date(tick)
      const job = task.enqueue(payload === undefined ? undefined : payload(date))
      const chosen = own === undefined ? job : own(job)
      return chosen.run(
        merge(chosen.options, {
          origin: "cron",
          headers: header.entry(date),
          ...(chosen.options.id === undefined ? { id: () => `cron:${name}:${date.toISOString()}` } : {}),
          ...(singleton === true
            ? { unique: { key: () => `cron:${name}`, until: "finished", onConflict: "fail" } }
            : {})
        })
      )
    })
  return {
    name,
    queue: options.queue ?? task.settings.queue ?? defaultQueue,
    rhythm,
    singleton: singleton === true,
    max,
    olderThan,
    enqueue
  }
}
