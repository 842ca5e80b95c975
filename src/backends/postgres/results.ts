/**
 * What jobs came to. All who wait in this process are served by one look, which comes with a hint that some job ended, or
 * by itself now and then.
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type { BackendError } from "../../Backend.ts"
import type { Result, Results } from "../../Capability.ts"
import type { Row } from "./calls.ts"
import type { Engine } from "./engine.ts"
import { texts } from "./params.ts"
import { topicOf } from "./wake.ts"

type Waiter = Deferred.Deferred<Result>

const toResult = ([, state, reason, exit]: Row): Result => ({
  state: state as Result["state"],
  reason: reason as string | null ?? undefined,
  exit: exit as string | null ?? undefined
})

export const results = Effect.fnUntraced(
  function*(
    { calls, pace, wake }: Engine
  ): Effect.fn.Return<Context.Service.Shape<typeof Results>, never, Scope.Scope> {
    // when its time is over nobody is told any more, but who waited for it before is
    const select = (kept: string) =>
      calls.sql(
        `SELECT j.id, e.state, e.reason, e.exit FROM {job} j JOIN {ended} e ON e.num = j.num
         WHERE j.id = ANY ($1::text[]) AND e.${kept} > {now}()`
      )
    const pollSql = select("result_until")
    const awaitSql = select("expires")
    const waiters = new Map<string, Set<Waiter>>()
    const latch = Latch.makeUnsafe(false)
    const some = Latch.makeUnsafe(false)
    yield* Effect.acquireRelease(
      Effect.sync(() => wake.on(topicOf.results, () => void latch.openUnsafe())),
      (leave) => Effect.sync(leave)
    )

    const look = Effect.suspend(() => {
      latch.closeUnsafe()
      if (waiters.size === 0) {
        some.closeUnsafe()
        return Effect.void
      }
      return Effect.map(calls.run("await", awaitSql, [texts(Array.from(waiters.keys()))]), (rows) => {
        for (const row of rows) {
          for (const waiter of waiters.get(row[0] as string) ?? []) {
            Deferred.doneUnsafe(waiter, Effect.succeed(toResult(row)))
          }
        }
      })
    })
    yield* Effect.forkScoped(Effect.forever(
      some.await.pipe(
        Effect.andThen(Effect.suspend(() => Effect.raceFirst(latch.await, Effect.sleep(pace.pause())))),
        Effect.andThen(look),
        // those who wait go on waiting
        Effect.catch((error) =>
          Effect.andThen(Effect.logDebug("windlass: looking for results failed", error), Effect.sleep(250))
        )
      )
    ))

    const poll = (id: string, sql: string): Effect.Effect<Option.Option<Result>, BackendError> =>
      Effect.map(
        calls.run("poll", sql, [texts([id])]),
        (rows) => rows.length > 0 ? Option.some(toResult(rows[0]!)) : Option.none()
      )

    return {
      poll: (id) => poll(id, pollSql),
      await: (id) =>
        Effect.suspend(() => {
          const waiter = Deferred.makeUnsafe<Result>()
          let all = waiters.get(id)
          if (all === undefined) waiters.set(id, all = new Set())
          all.add(waiter)
          const leave = Effect.sync(() => {
            all.delete(waiter)
            if (all.size === 0 && waiters.get(id) === all) waiters.delete(id)
          })
          return Effect.flatMap(poll(id, awaitSql), (found) => {
            if (Option.isSome(found)) return Effect.succeed(found.value)
            pace.happened()
            some.openUnsafe()
            return Deferred.await(waiter)
          }).pipe(Effect.ensuring(leave))
        })
    }
  }
)
