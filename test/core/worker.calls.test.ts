/** What a call to the backend costs beside the call: the time that it may take (`src/internal/worker/call.ts`). */
import { assert, describe, it } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend, type Subscription } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class A extends Task.make("A") {}

/** nothing else in a worker takes as long */
const callTimeout = 7_777

/** The clock, and how many sleeps of that length there were and are. */
const counted = Effect.map(Clock.Clock, (clock) => {
  const sleeps = { made: 0, open: 0 }
  const own: Clock.Clock = Object.assign(Object.create(clock), {
    sleep: (duration: Duration.Duration) => {
      if (Duration.toMillis(duration) !== callTimeout) return clock.sleep(duration)
      const opened = Effect.sync(() => {
        sleeps.made++
        sleeps.open++
      })
      return Effect.ensuring(Effect.andThen(opened, clock.sleep(duration)), Effect.sync(() => void sleeps.open--))
    }
  })
  return { clock: own, sleeps }
})

const far = (subscription: Subscription): Subscription => ({
  ...subscription,
  take: (max) => Effect.andThen(Effect.yieldNow, subscription.take(max)),
  settle: (items) => Effect.andThen(Effect.yieldNow, subscription.settle(items)),
  exchange: (items, max) => Effect.andThen(Effect.yieldNow, subscription.exchange(items, max))
})

const drained = (isFar: boolean) =>
  Effect.gen(function*() {
    const { clock, sleeps } = yield* counted
    const live = Layer.effect(
      Backend,
      Effect.map(Backend, (backend) => ({
        ...backend,
        subscribe: (queue: string, options: Parameters<typeof backend.subscribe>[1]) =>
          Effect.map(backend.subscribe(queue, options), isFar ? far : (same) => same)
      }))
    )
    for (let i = 0; i < 10; i++) yield* A.enqueue()
    const report = yield* Worker.launch(
      Worker.layer(TaskGroup.make(A), { mode: "drain", concurrency: 1, callTimeout }).pipe(
        Layer.provide(A.toLayer(() => Effect.void)),
        Layer.provide(live)
      )
    ).pipe(Effect.provideService(Clock.Clock, clock))
    assert.strictEqual(report.succeeded, 10)
    return sleeps
  }).pipe(Effect.provide(MemoryBackend.layer))

describe("the time that a call may take", () => {
  it.effect("is measured until it is answered, and no longer", () =>
    Effect.map(drained(true), ({ made, open }) => {
      assert.isAtLeast(made, 10)
      assert.strictEqual(open, 0)
    }))

  it.effect("is not measured where it is answered as it is made", () =>
    Effect.map(drained(false), (sleeps) => assert.deepStrictEqual(sleeps, { made: 0, open: 0 })))
})
