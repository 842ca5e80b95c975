/**
 * The worker of the suite, the same in a child and in the test's own process. It says what happens to every job, a line
 * each, written before the next step is taken:
 *
 * - `claimed ID ...`, `run ID ATTEMPT LIFE`, `done ID ATTEMPT LIFE TIME`, `answer ID SETTLEMENT ANSWER LIFE`, `lost ID`
 * - `at POINT ID ...`: it has come to the crash point that it was asked to stop at
 * - `starved MILLIS`: it, or the engine, had no processor for so long that a lease may have ended for it
 *
 * A life is when the job was enqueued: an id that was published again after its job had ended begins another one. The time
 * is of the clock that all processes of the machine share, in milliseconds.
 *
 * Crash points: `claimed` (an answer with jobs came, and nobody was told), `before` (of a middleware), `handler` (its
 * middle), `after` (of the same middleware), `settle` (a batch of successes is about to be sent), `requeue` (a batch with
 * retries is about to be sent).
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Backend, type Delivery, type Receipt, type Settled, type Settlement } from "windlass/Backend"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class NotYet extends Schema.TaggedError<NotYet>()("NotYet", {}) {}

export class Work extends Task.make("Work", {
  payload: {
    /** its first attempt fails, and the second succeeds */
    fails: Schema.Boolean,
    /** milliseconds */
    takes: Schema.Number,
    text: Schema.optionalKey(Schema.String)
  },
  error: NotYet,
  retry: Schedule.spaced("10 millis").pipe(Schedule.upTo({ times: 3 }))
}) {}

export type Point = "claimed" | "before" | "handler" | "after" | "settle" | "requeue"

export interface Options {
  readonly worker: string
  readonly concurrency: number
  readonly claimAhead?: boolean | undefined
  /** workers in the process, all alike; 1 when absent */
  readonly workers?: number | undefined
  /** what it does instead of going on when it has come to the point for the nth time */
  readonly stop?: { readonly point: Point; readonly nth: number } | undefined
}

/** milliseconds on the clock that all processes of the machine share */
export const steadyNow = (): number => Number(process.hrtime.bigint()) / 1_000_000

export interface Hands {
  readonly say: (line: string) => void
  /** called at the crash point, once */
  readonly stop: () => void
}

type Items = ReadonlyArray<readonly [Receipt, Settlement]>

const instrument = (options: Options, hands: Hands) => {
  let left = options.stop?.nth ?? 0
  const at = (point: Point, ids: ReadonlyArray<string>): void => {
    if (point !== options.stop?.point || left === 0 || --left > 0) return
    hands.say(`at ${point} ${ids.join(" ")}`)
    hands.stop()
  }
  const settling = (items: Items): void => {
    const ids = items.map(([receipt]) => receipt.id)
    // a batch is more than one
    if (items.length > 1) at(items.some(([, { _tag }]) => _tag === "Retry") ? "requeue" : "settle", ids)
  }
  const lives = new WeakMap<Receipt, number | undefined>()
  const settled = (items: Items, answers: ReadonlyArray<Settled>): void =>
    items.forEach(([receipt, settlement], i) =>
      hands.say(`answer ${receipt.id} ${settlement._tag} ${answers[i]} ${lives.get(receipt)}`)
    )
  const claimed = (deliveries: ReadonlyArray<Delivery>): void => {
    if (deliveries.length === 0) return
    for (const { enqueuedAt, receipt } of deliveries) lives.set(receipt, enqueuedAt)
    const ids = deliveries.map(({ envelope }) => envelope.id)
    hands.say(`claimed ${ids.join(" ")}`)
    at("claimed", ids)
  }
  return { at, settling, settled, claimed }
}

type Instrument = ReturnType<typeof instrument>

/**
 * A worker gives a job up when it was told nothing for two thirds of the lease, and asks at one third: so no lease is lost
 * on a machine that is quick, unless the worker was late by a sixth or had to wait so long for an answer. Says when that
 * happens; a job that is lost without it is nobody's fault but ours.
 */
const starving = (lease: number, { say }: Hands) => {
  const limit = lease / 6
  const told = (millis: number): void => {
    if (millis > limit) say(`starved ${Math.round(millis)}`)
  }
  const timed = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<A, E> =>
    Effect.suspend(() => {
      const asked = steadyNow()
      return Effect.ensuring(call, Effect.sync(() => told(steadyNow() - asked)))
    })
  const every = 50
  const watching = Effect.acquireRelease(
    Effect.sync(() => {
      let last = steadyNow()
      return setInterval(() => {
        const now = steadyNow()
        told(now - last - every)
        last = now
      }, every)
    }),
    (timer) => Effect.sync(() => clearInterval(timer))
  )
  return { timed, watching }
}

/** stands between the worker and the engine */
const watched = (
  { claimed, settled, settling }: Instrument,
  hands: Hands
): Layer.Layer<Backend, never, Backend> =>
  Layer.effect(
    Backend,
    Effect.map(Backend, (backend) => ({
      ...backend,
      subscribe: (queue: string, options: { readonly worker: string }) =>
        Effect.gen(function*() {
          const inner = yield* backend.subscribe(queue, options)
          const { lease } = inner
          const { timed, watching } = starving(lease._tag === "Timed" ? lease.millis : Infinity, hands)
          yield* watching
          return {
            ...inner,
            lease: lease._tag === "Timed"
              ? { ...lease, extend: (receipts: ReadonlyArray<Receipt>) => timed(lease.extend(receipts)) }
              : lease,
            take: (max: number) => Effect.tap(timed(inner.take(max)), (taken) => Effect.sync(() => claimed(taken))),
            settle: (items: Items) =>
              Effect.suspend(() => {
                settling(items)
                return Effect.tap(timed(inner.settle(items)), (answers) => Effect.sync(() => settled(items, answers)))
              }),
            exchange: (items: Items, max: number) =>
              Effect.suspend(() => {
                settling(items)
                return Effect.tap(timed(inner.exchange(items, max)), ([answers, taken]) =>
                  Effect.sync(() => {
                    settled(items, answers)
                    claimed(taken)
                  }))
              })
          }
        })
    }))
  )

const around = ({ at }: Instrument) =>
  Middleware.make(
    "around",
    Middleware.hooks({
      before: (job) => Effect.sync(() => at("before", [job.id])),
      after: (_, __, job) => Effect.sync(() => at("after", [job.id]))
    })
  )

const handler = ({ at }: Instrument, { say }: Hands) =>
  Work.toLayer(({ fails, takes }) =>
    Effect.gen(function*() {
      const { attempt, enqueuedAt, id } = yield* Job.Current
      say(`run ${id} ${attempt} ${enqueuedAt}`)
      at("handler", [id])
      if (takes > 0) yield* Effect.sleep(takes)
      if (fails && attempt === 1) return yield* new NotYet()
      say(`done ${id} ${attempt} ${enqueuedAt} ${steadyNow()}`)
    })
  )

/** runs until its scope ends */
export const run = (options: Options, hands: Hands) =>
  Effect.gen(function*() {
    const instruments = instrument(options, hands)
    const one = (id: string) =>
      Effect.gen(function*() {
        const worker = yield* Worker.Worker
        yield* Effect.forkScoped(
          Stream.runForEach(worker.events, (event) =>
            Effect.sync(() => {
              if (event._tag === "Lost") hands.say(`lost ${event.id}`)
              if (event._tag === "Dead") hands.say(`dead ${event.id} ${event.detail}`)
            })),
          { startImmediately: true }
        )
        return yield* worker.await
      }).pipe(Effect.provide(
        Worker.layer(TaskGroup.make(Work), {
          id,
          concurrency: options.concurrency,
          claimAhead: options.claimAhead,
          middleware: [around(instruments)],
          // of what is killed over and over nothing is poison
          poisonLimit: 1_000,
          callTimeout: "2 seconds",
          shutdownGrace: 0,
          stuckAfter: "2 seconds"
        }).pipe(Layer.provide(handler(instruments, hands)), Layer.provide(watched(instruments, hands)))
      ))
    const count = options.workers ?? 1
    const names = Array.from({ length: count }, (_, i) => count === 1 ? options.worker : `${options.worker}-${i}`)
    yield* Effect.forEach(names, one, { concurrency: "unbounded", discard: true })
  }).pipe(Effect.scoped)
