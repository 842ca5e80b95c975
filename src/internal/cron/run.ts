/**
 * One entry's scheduler: look which ticks are due, enqueue them one after another, sleep until the next.
 *
 * Any number of processes run the same entry. What they share is the entry's cursor, the time up to which its ticks are
 * decided: it moves from one tick to the next in one step with the enqueue, so whoever comes second finds it moved and
 * stores nothing. A process that was away finds it where it was left, and that is from where it catches up.
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Backend, type BackendError, type Published, type Shape } from "../../Backend.ts"
import { type Advanced, Cursor } from "../../Capability.ts"
import type { Plan } from "./plan.ts"

/** no tick is later by more than this because a computer slept or its clock was set */
const longestSleep = 60_000

/** at a cold start nothing says whether a tick was missed or came before the entry existed */
const coldLimit = 600_000

type Needs = Backend | Cursor

/** @internal */
export const run = (plan: Plan): Effect.Effect<never, BackendError, Needs> => {
  let failures = 0
  const again = (error: BackendError): Effect.Effect<void, BackendError> =>
    error.retryable
      ? Effect.andThen(
        Effect.logWarning(`the backend failed for cron ${plan.name}; its ticks are caught up`, error),
        Effect.sleep(Math.min(10_000, 100 * 2 ** Math.min(failures++, 7)))
      )
      : Effect.fail(error)
  const succeeded = Effect.sync(() => {
    failures = 0
  })
  return Effect.forever(Effect.catch(Effect.andThen(Effect.flatMap(round(plan), sleep), succeeded), again))
}

/** Enqueues what is due; answers when to look again. */
const round = (plan: Plan): Effect.Effect<number, BackendError, Needs> =>
  Effect.gen(function*() {
    const cursor = yield* Cursor
    // every time, and last of all before the enqueue point is entered: another process may have been first
    const position = yield* cursor.get(plan.queue, plan.name)
    const now = yield* Clock.currentTimeMillis
    const { more, ticks } = due(plan, position, now)
    if (more) {
      yield* Effect.logWarning(
        `cron ${plan.name} has missed more ticks than it catches up: those before ${iso(ticks[0]!)} are left out`
      )
    }
    if (position === undefined && ticks.length === 0) {
      // from here on it is known what is missed
      yield* cursor.advance({ queue: plan.queue, name: plan.name, from: undefined, to: now }, [])
    }
    let at = position
    for (const tick of ticks) {
      // somebody else has decided this tick, and perhaps the others too
      if (!(yield* enqueue(plan, at, tick))) return now
      at = tick
    }
    return plan.rhythm.next(Math.max(at ?? now, now))
  })

const due = (plan: Plan, position: number | undefined, now: number) => {
  const { max, olderThan, rhythm, singleton } = plan
  if (position === undefined) {
    return { more: false, ticks: rhythm.between(now - (olderThan ?? coldLimit) - 1, now, 1).ticks }
  }
  const after = olderThan === undefined ? position : Math.max(position, now - olderThan - 1)
  const { more, ticks } = rhythm.between(after, now, singleton ? 1 : max)
  // one run of a singleton stands for all that were missed
  return { more: more && !singleton, ticks }
}

/** One tick through the enqueue point; false when the cursor was not where it was thought to be. */
const enqueue = (plan: Plan, from: number | undefined, tick: number): Effect.Effect<boolean, BackendError, Needs> =>
  Effect.gen(function*() {
    const backend = yield* Backend
    const cursor = yield* Cursor
    let moved: Advanced | undefined
    const move = (items: Parameters<typeof cursor.advance>[1]) =>
      Effect.tap(
        cursor.advance({ queue: plan.queue, name: plan.name, from, to: tick }, items),
        (advanced) =>
          Effect.sync(() => {
            moved = advanced
          })
      )
    const publish: Shape["publish"] = (queue, items, options) =>
      Effect.gen(function*() {
        // a middleware that sends the job elsewhere: the tick is taken first, so that it comes once
        const advanced = moved ?? (yield* move(queue === plan.queue ? items : []))
        if (advanced._tag === "Stale") {
          return items.map(({ envelope }): Published => ({ _tag: "Duplicate", existing: envelope.id }))
        }
        if (advanced.published.length === items.length) return advanced.published
        return yield* backend.publish(queue, items, options)
      })
    const lost = (why: string, error: unknown) =>
      Effect.logError(`cron ${plan.name} enqueued nothing for ${iso(tick)}: ${why}`, error)
    yield* plan.enqueue(tick).pipe(
      Effect.provideService(Backend, { ...backend, publish }),
      Effect.catchTags({
        "windlass/AlreadyEnqueued": ({ existing }) =>
          Effect.logDebug(`cron ${plan.name} skips ${iso(tick)}: job ${existing} is still there`),
        "windlass/InvalidEnqueue": (error) => lost("the job is not valid", error),
        "windlass/Refused": (error) => lost("a middleware refused it", error)
      })
    )
    // dropped or refused before it came to the backend: this tick is decided all the same
    const { _tag } = moved ?? (yield* move([]))
    return _tag === "Advanced"
  })

const iso = (tick: number) => new Date(tick).toISOString()

/** by the clock, which may be set, and not by one timer, which would not notice */
const sleep = (until: number): Effect.Effect<void> =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    now >= until
      ? Effect.void
      : Effect.andThen(Effect.sleep(Math.min(until - now, longestSleep)), sleep(until)))
