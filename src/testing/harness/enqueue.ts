/**
 * One enqueue through the producer's own path (encode, enqueue point, publish) with a played backend.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Schema from "effect/Schema"
import * as Backend from "../../Backend.ts"
import * as Enqueue from "../../Enqueue.ts"
import * as Task from "../../Task.ts"
import * as events from "./events.ts"

const anything = Task.make("harness", { payload: Schema.Unknown })

export interface Script {
  readonly task: Task.Any | undefined
  readonly payloads: ReadonlyArray<unknown>
  readonly enqueue: ((self: Enqueue.Enqueue<any, any, any, any>) => Effect.Effect<any, any, any>) | undefined
  readonly inner: (batch: Enqueue.Batch) => Effect.Effect<ReadonlyArray<Backend.Published>, Backend.BackendError, any>
}

export interface Played {
  readonly exit: Exit.Exit<unknown, unknown>
  readonly published: ReadonlyArray<Enqueue.Batch>
  readonly events: ReadonlyArray<string>
}

export const play = (wrap: Enqueue.Wrap<any>, script: Script): Effect.Effect<Played, never, any> =>
  Effect.gen(function*() {
    const notes: Array<string> = []
    const published: Array<Enqueue.Batch> = []
    const task = (script.task ?? anything) as typeof anything
    const backend: Backend.Shape = {
      name: "harness",
      limits: {
        payloadBytes: 1024 * 1024,
        delayMillis: Number.POSITIVE_INFINITY,
        publishBatch: 10_000,
        takeBatch: 10_000,
        settleBatch: 10_000
      },
      fence: "strict",
      declare: () => Effect.void,
      publish: (queue, items) =>
        Effect.suspend(() => {
          const batch = { task: task._tag, queue, items }
          notes.push("inner")
          published.push(batch)
          return script.inner(batch)
        }).pipe(Effect.onExit((exit) => events.note(`inner: ${events.endedOf(exit)}`))) as ReturnType<
          Backend.Shape["publish"]
        >,
      subscribe: () => Effect.never,
      ping: Effect.void
    }
    // what it requires is in the context of the harness, as in that of a program
    const probed = ((next, batch) =>
      Effect.andThen(
        Effect.addFinalizer(() => events.note("closed")),
        Effect.suspend(() => wrap(next, batch))
      )) as Enqueue.Wrap
    const enqueue = task.enqueueMany(script.payloads)
    const exit = yield* Effect.exit(script.enqueue === undefined ? enqueue : script.enqueue(enqueue)).pipe(
      Effect.tap((exit) => events.note(`outer: ${events.endedOf(exit)}`)),
      Effect.provideContext(
        Context.make(Backend.Backend, backend).pipe(
          Context.add(Enqueue.CurrentMiddleware, [probed]),
          Context.add(events.Current, notes)
        )
      )
    )
    return { exit, published, events: notes }
  })
