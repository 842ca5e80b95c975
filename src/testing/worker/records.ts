/**
 * What was put into the queue while a test ran: the backend of the test, with a record of every job that it stored.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Item } from "../../Backend.ts"
import { Backend } from "../../Backend.ts"

/**
 * One stored job as the backend received it, after the middleware of the enqueue point.
 *
 * @category models
 * @since 0.1.0
 */
export interface Stored {
  readonly queue: string
  readonly item: Item
  /** milliseconds since the epoch */
  readonly at: number
}

/**
 * Every job that was stored, oldest first.
 *
 * @category services
 * @since 0.1.0
 */
export class Records extends Context.Service<Records, { readonly stored: Array<Stored> }>()(
  "windlass/testing/TestWorker/Records"
) {}

/** adds the record to a backend; duplicates and refused calls leave no trace in it */
export const recording = <R, E, RIn>(
  layer: Layer.Layer<R | Backend, E, RIn>
): Layer.Layer<R | Backend | Records, E, RIn> =>
  Layer.effectContext(Effect.gen(function*() {
    const context = yield* Layer.build(layer)
    const base = Context.get(context, Backend)
    const clock = yield* Clock.clockWith(Effect.succeed)
    const stored: Array<Stored> = []
    return context.pipe(
      Context.add(Records, { stored }),
      Context.add(Backend, {
        ...base,
        publish: (queue, items, options) =>
          Effect.tap(base.publish(queue, items, options), (answers) =>
            Effect.sync(() => {
              const at = clock.currentTimeMillisUnsafe()
              items.forEach((item, i) => {
                if (answers[i]?._tag === "Stored") stored.push({ queue, item, at })
              })
            }))
      })
    )
  })) as Layer.Layer<R | Backend | Records, E, RIn>
