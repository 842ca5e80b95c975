/**
 * Tests that hold on every backend there is, servers included: `everywhere` registers one test per engine, in real time,
 * with a queue system of its own each. Add an engine to the list and it is tested.
 */
import { it } from "@effect/vitest"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import type { BackendError } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Cron from "windlass/Cron"
import * as postgres from "../backends/postgres/server.ts"
import * as redis from "../backends/redis/server.ts"
import { type Engine, memory, sqlite } from "./backends.ts"

const retention = { failures: "1 day", successes: "1 day" } as const

/** `kept`: jobs that succeeded stay inspectable; else they are gone at once, as they are by default */
export const everyEngine: Readonly<Record<string, (kept: boolean) => Layer.Layer<Engine, unknown>>> = {
  memory: (kept) => memory(kept ? { retention } : { retention: {} }),
  sqlite: (kept) => sqlite(kept ? { retention } : { retention: {} }),
  postgres: (kept) => postgres.backend({ connections: 2, ...(kept ? { retention } : {}) }),
  redis: (kept) => redis.backend(kept ? { retention } : {})
}

/** one test per engine: `NAME (memory)`, `NAME (postgres)`, ... */
export const everywhere = <E>(
  name: string,
  body: () => Effect.Effect<void, E, Engine | Scope.Scope>,
  options: { readonly kept?: boolean } = {}
): void => {
  for (const [engine, layer] of Object.entries(everyEngine)) {
    it.live(
      `${name} (${engine})`,
      () => Effect.provide(Effect.scoped(body()), layer(options.kept ?? true)) as Effect.Effect<void, unknown>
    )
  }
}

/** a clock of the test's own, for parts of a test that is otherwise in real time */
export interface Hands {
  /** lets time pass for what runs on this clock, and for nothing else */
  readonly adjust: (duration: Duration.Input) => Effect.Effect<void>
  /** recurring tasks on this clock. Their calls to the backend are in real time: nobody moves it while one is under way */
  readonly launch: (
    ...entries: ReadonlyArray<Cron.Entry<any>>
  ) => Effect.Effect<never, BackendError | Cron.InvalidCron, Engine>
}

/** the clock stands at a time */
export const clockAt = (time: string): Effect.Effect<Hands, never, Scope.Scope> =>
  Effect.gen(function*() {
    const context = yield* Layer.build(TestClock.layer())
    const on = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideContext(effect, context)
    yield* on(TestClock.setTime(Date.parse(time)))
    return {
      adjust: (duration) => on(TestClock.adjust(duration)),
      launch: (...entries) =>
        Effect.gen(function*() {
          const cursor = yield* Capability.Cursor
          return yield* Effect.provideService(on(Cron.launch(...entries)), Capability.Cursor, {
            get: (queue, name) => TestClock.withLive(cursor.get(queue, name)),
            advance: (move, items) => TestClock.withLive(cursor.advance(move, items)),
            forget: (queue, names) => TestClock.withLive(cursor.forget(queue, names))
          })
        })
    }
  })
