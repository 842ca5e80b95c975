/** Part D of the scenarios: status, retries, unknown tasks, concurrency, context. */
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { nextDelay } from "../../src/internal/worker/retry.ts"
import { follow, publishRaw, record, scenario, spy, startWorker } from "../support/backends.ts"

class Broken extends Schema.TaggedError<Broken>()("Broken", { at: Schema.String }) {}
class Other extends Schema.TaggedError<Other>()("Other", {}) {}

const drain = { mode: "drain" } as const

describe("a worker and its jobs", () => {
  scenario(
    "PROC-20 the job is active before and after next, and has its final state only when the outermost middleware is over",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const inspect = yield* Capability.Inspect
        const look = (where: string, id: string) =>
          Effect.map(Effect.orDie(record(id)), (job) => void seen.push(`${where} ${job.state}`)).pipe(
            Effect.provideService(Capability.Inspect, inspect)
          )
        const outermost = Middleware.make("outermost", (next, input, job) =>
          Effect.gen(function*() {
            yield* Effect.addFinalizer(() => look("release", job.id))
            yield* look("before", job.id)
            const result = yield* next(input)
            yield* look("after", job.id)
            return result
          }))
        class Work extends Task.make("Work") {}
        const live = Work.toLayer(() => Effect.void)
        const id = yield* Work.enqueue()
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Work), { ...drain, middleware: [outermost] }).pipe(Layer.provide(live))
        )
        assert.deepStrictEqual(seen, ["before active", "after active", "release active"])
        assert.strictEqual((yield* record(id)).state, "succeeded")
      })
  )

  scenario(
    "PROC-21 one retry: the chain is entered twice, the first failure is logged as information, the last as an error",
    () =>
      Effect.gen(function*() {
        const attempts: Array<readonly [number, boolean]> = []
        const lines: Array<string> = []
        const logger = Logger.make<unknown, void>(({ logLevel, message }) => {
          const text = Array.isArray(message) ? String(message[0]) : String(message)
          if (/attempt failed|job dead/.test(text)) lines.push(`${logLevel} ${text}`)
        })
        const counting = Middleware.make("counting", (next, input, job) =>
          Effect.suspend(() => {
            attempts.push([job.attempt, job.lastAttempt])
            return next(input)
          }))
        class Work extends Task.make("Work", {
          error: Broken,
          middleware: [counting],
          retry: { schedule: Schedule.forever, maxAttempts: 2 }
        }) {}
        const live = Work.toLayer(() => Effect.fail(new Broken({ at: "task" })))
        const id = yield* Work.enqueue()
        const report = yield* Effect.provide(
          Worker.launch(Worker.layer(TaskGroup.make(Work), drain).pipe(Layer.provide(live))),
          Logger.layer([logger])
        )
        assert.deepStrictEqual(attempts, [[1, false], [2, true]])
        assert.deepStrictEqual([report.retried, report.dead], [1, 1])
        assert.deepStrictEqual(lines.map((line) => line.slice(0, 26)), [
          "Info attempt failed, next ",
          "Error job dead: failed"
        ])
        assert.deepStrictEqual([(yield* record(id)).state, (yield* record(id)).attempt], ["dead", 2])
      })
  )

  it.effect("PROC-22 the delay of an attempt: wait 8, linear 3, exponential 2 is 52 seconds at the fifth failure; nothing is 0; too long is clamped", () =>
    Effect.gen(function*() {
      const at = (schedule: Schedule.Schedule<unknown, any, unknown>, count: number) =>
        nextDelay(schedule, { count, firstAt: 0, now: 0 }, undefined, "id")
      // the source's three addends as one schedule; its attempt 4 is the fifth failure
      const sum = Schedule.forever.pipe(
        Schedule.modifyDelay(({ output }) => Effect.succeed(Duration.seconds(8 + 3 * output + 2 ** (output + 1))))
      )
      assert.strictEqual(yield* at(sum, 5), 52_000)
      assert.strictEqual(yield* at(sum, 1), 10_000)
      assert.strictEqual(yield* at(Schedule.forever, 1), 0)
      const century = 100 * 365 * 86_400_000
      assert.strictEqual(yield* at(Schedule.exponential("1 day", 10), 400), century)
      assert.strictEqual(yield* at(Schedule.spaced(Duration.infinity), 1), century)
      assert.strictEqual(yield* at(Schedule.recurs(2), 2), 0)
      assert.strictEqual(yield* at(Schedule.recurs(2), 3), undefined)
    }))

  scenario(
    "PROC-22 an error that is not one to retry makes the job dead at its first attempt",
    () =>
      Effect.gen(function*() {
        class Work extends Task.make("Work", {
          payload: { listed: Schema.Boolean },
          error: Schema.Union([Broken, Other]),
          retry: { schedule: Schedule.recurs(3), while: (failure) => failure._tag === "Broken" }
        }) {}
        const live = Work.toLayer(({ listed }) => Effect.fail(listed ? new Broken({ at: "task" }) : new Other()))
        const [listed, other] = yield* Work.enqueueMany([{ listed: true }, { listed: false }])
        yield* Worker.launch(Worker.layer(TaskGroup.make(Work), drain).pipe(Layer.provide(live)))
        assert.deepStrictEqual([(yield* record(listed!)).attempt, (yield* record(other!)).attempt], [4, 1])
      })
  )

  // in the source a task may catch the interruption and return, and has succeeded then. Effect delivers a pending
  // interruption when a mask ends, so a handler cannot do that: what it masks runs to its end, and then it is cut short.
  // A handler that was over when the request came has succeeded: the abort came too late
  scenario(
    "PROC-25 abort: queued is cancelled, running is interrupted, masked runs to the end of its mask, one that polls ends when it agrees, one that was over has succeeded (L17)",
    () =>
      Effect.gen(function*() {
        const cancel = yield* Capability.Cancel
        const started = new Map<string, Deferred.Deferred<string>>()
        for (const name of ["Runs", "Masks", "Polls", "IsOver"]) started.set(name, yield* Deferred.make<string>())
        const begin = Effect.flatMap(Job.Current, (job) => Deferred.succeed(started.get(job.task)!, job.id))
        const stopped = Effect.repeat(Effect.andThen(Effect.yieldNow, Job.isStopping), {
          until: (stopping) => stopping
        })
        const log: Array<string> = []
        class Waits extends Task.make("Waits", { queue: "nobody works on it" }) {}
        class Runs extends Task.make("Runs") {}
        class Masks extends Task.make("Masks") {}
        class Polls extends Task.make("Polls") {}
        const slowAfter = Middleware.make(
          "slow after",
          Middleware.hooks({ after: () => Effect.andThen(begin, stopped) })
        )
        class IsOver extends Task.make("IsOver", { middleware: [slowAfter] }) {}
        const live = Layer.mergeAll(
          Runs.toLayer(() =>
            Effect.onInterrupt(Effect.andThen(begin, Effect.never), () => Effect.sync(() => log.push("interrupted")))
          ),
          Masks.toLayer(() =>
            Effect.andThen(
              Effect.uninterruptible(
                Effect.andThen(Effect.andThen(begin, stopped), Effect.sync(() => log.push("masked part")))
              ),
              Effect.sync(() => void log.push("never reached"))
            )
          ),
          Polls.toLayer(() =>
            Effect.uninterruptible(Effect.gen(function*() {
              yield* begin
              yield* stopped
              log.push("agreed")
              yield* Job.checkpoint
              log.push("never reached")
            }))
          ),
          IsOver.toLayer(() => Effect.void)
        )
        yield* startWorker(Worker.layer(TaskGroup.make(Runs, Masks, Polls, IsOver)).pipe(Layer.provide(live)))

        const waits = yield* Waits.enqueue()
        assert.strictEqual(yield* cancel.request(waits), "Cancelled")
        assert.deepInclude(yield* record(waits), { state: "aborted", attempt: 0 })
        assert.deepStrictEqual((yield* record(waits)).history.map((line) => line.event), ["enqueued", "cancelled"])

        const ends: Record<string, string> = {}
        for (const task of [Runs, Masks, Polls, IsOver]) {
          const waiting = yield* Effect.forkScoped(Effect.exit(task.execute()), { startImmediately: true })
          const id = yield* Deferred.await(started.get(task._tag)!)
          assert.strictEqual(yield* cancel.request(id), "Requested")
          while (waiting.pollUnsafe() === undefined) yield* Effect.yieldNow
          ends[task._tag] = (yield* record(id)).state
        }
        assert.deepStrictEqual(ends, { Runs: "aborted", Masks: "aborted", Polls: "aborted", IsOver: "succeeded" })
        assert.deepStrictEqual(log, ["interrupted", "masked part", "agreed"])
      })
  )

  scenario(
    "PROC-31 never more jobs run, and where none is claimed ahead never more are claimed, than there are free slots",
    () =>
      Effect.gen(function*() {
        const watched = yield* spy()
        let running = 0
        let most = 0
        const full = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        class Work extends Task.make("Work", { payload: { n: Schema.Number } }) {}
        const live = Work.toLayer(() =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              most = Math.max(most, ++running)
            }),
            () =>
              Effect.andThen(running === 5 ? Deferred.succeed(full, undefined) : Effect.void, Deferred.await(release)),
            () =>
              Effect.sync(() => {
                running--
              })
          )
        )
        yield* Work.enqueueMany(Array.from({ length: 20 }, (_, n) => ({ n })))
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Work), { concurrency: 5, claimAhead: false })
            .pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        const events = yield* follow(worker)
        yield* Deferred.await(full)
        assert.strictEqual((yield* (yield* Capability.Inspect).counts("default")).active, 5)
        yield* Deferred.succeed(release, undefined)
        yield* events.until("Succeeded", { count: 20 })
        yield* worker.stop
        assert.strictEqual(most, 5)
        for (const claim of watched.claims) assert.isAtMost(claim.open + claim.max, 5, JSON.stringify(claim))
        assert.strictEqual(watched.claims.reduce((n, claim) => n + claim.ids.length, 0), 20)
      })
  )

  scenario(
    "PROC-31 the limit holds over all queues of a worker, a queue's own limit within it",
    () =>
      Effect.gen(function*() {
        const running = { default: 0, b: 0 }
        const most = { default: 0, b: 0, all: 0 }
        const claims: Array<number> = []
        const all = () => running.default + running.b
        const watched = yield* spy((subscription) => ({
          ...subscription,
          take: (max) => Effect.andThen(Effect.sync(() => claims.push(all() + max)), subscription.take(max)),
          exchange: (items, max) =>
            Effect.andThen(Effect.sync(() => claims.push(all() + max)), subscription.exchange(items, max))
        }))
        class A extends Task.make("A", { payload: { n: Schema.Number } }) {}
        class B extends Task.make("B", { payload: { n: Schema.Number }, queue: "b" }) {}
        const body = (queue: "default" | "b") => () =>
          Effect.acquireUseRelease(
            Effect.sync(() => {
              most[queue] = Math.max(most[queue], ++running[queue])
              most.all = Math.max(most.all, all())
            }),
            () => Effect.yieldNow,
            () =>
              Effect.sync(() => {
                running[queue]--
              })
          )
        const live = Layer.mergeAll(A.toLayer(body("default")), B.toLayer(body("b")))
        yield* A.enqueueMany(Array.from({ length: 20 }, (_, n) => ({ n })))
        yield* B.enqueueMany(Array.from({ length: 20 }, (_, n) => ({ n })))
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(A, B), { ...drain, concurrency: 5, queues: { default: 5, b: 2 } })
            .pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        assert.strictEqual(report.succeeded, 40)
        assert.strictEqual(most.all, 5)
        assert.strictEqual(most.b, 2)
        // at no claim more was asked for than was free
        assert.isAtMost(Math.max(...claims), 5)
      })
  )

  scenario(
    "PROC-32 a task that nobody knows is given back, then dead with a reason of its own; the worker goes on",
    () =>
      Effect.gen(function*() {
        class Known extends Task.make("Known") {}
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Known), { unknownFor: "10 minutes" }).pipe(
            Layer.provide(Known.toLayer(() => Effect.void))
          )
        )
        const events = yield* follow(worker)
        yield* publishRaw({ id: "renamed", task: "Unknown" })
        yield* events.until("Released")
        yield* Known.execute()
        yield* TestClock.adjust("9 minutes")
        assert.notStrictEqual((yield* record("renamed")).state, "dead")
        yield* TestClock.adjust("10 minutes")
        const dead = yield* events.until("Dead")
        assert.deepStrictEqual([dead.id, dead.detail], ["renamed", "unknown-task"])
        const job = yield* record("renamed")
        assert.deepStrictEqual([job.state, job.reason, job.attempt], ["dead", "unknown-task", 1])
        assert.include(job.error, "no worker knows task Unknown")
        yield* Known.execute()
        assert.strictEqual((yield* worker.stop).succeeded, 2)
      })
  )

  scenario(
    "PROC-33 what a middleware or a task changes in a job's context is not seen by the next job, nor by the next attempt (L8)",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        class Bag extends Context.Service<Bag, { readonly items: Array<string> }>()("t/Bag") {}
        class Carry extends Middleware.Service<Carry, { provides: Bag }>()("t/Carry") {}
        class Work extends Task.make("Work", {
          payload: { n: Schema.Number },
          error: Broken,
          middleware: [Carry],
          retry: Schedule.recurs(1)
        }) {}
        const CarryLive = Layer.succeed(
          Carry,
          Middleware.hooks({ provides: Bag, before: () => Effect.sync(() => ({ items: [] as Array<string> })) })
        )
        const live = Work.toLayer(({ n }) =>
          Effect.gen(function*() {
            const bag = yield* Bag
            const job = yield* Job.Current
            seen.push(`${n}: ${bag.items.join()} ${Object.keys(job.headers).join()}`)
            bag.items.push(`of ${n}`)
            Object.assign(job.headers, { changed: "yes" })
            if (n === 1 && job.attempt === 1) return yield* new Broken({ at: "first" })
          })
        ).pipe(Layer.provide(CarryLive))
        yield* Work.enqueueMany([{ n: 1 }, { n: 2 }]).pipe(Enqueue.headers({ own: "1" }))
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Work), { ...drain, concurrency: 1 }).pipe(Layer.provide(live))
        )
        assert.deepStrictEqual(seen.sort(), ["1:  own", "1:  own", "2:  own"])
      })
  )

  scenario(
    "PROC-30 a side fiber that dies stops the worker loudly: what runs is drained, the report says why",
    () =>
      Effect.gen(function*() {
        const boom = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        const started = yield* Deferred.make<void>()
        const watched = yield* spy((subscription) => ({
          ...subscription,
          aborts: Stream.fromEffect(Effect.andThen(Deferred.await(boom), Effect.die("the listener")))
        }))
        class Work extends Task.make("Work") {}
        const live = Work.toLayer(() => Effect.andThen(Deferred.succeed(started, undefined), Deferred.await(release)))
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Work), { concurrency: 1 }).pipe(Layer.provide(live), Layer.provide(watched.layer))
        )
        const first = yield* Work.enqueue()
        const second = yield* Work.enqueue()
        yield* Deferred.await(started)
        yield* Deferred.succeed(boom, undefined)
        while (!(yield* worker.health).stopping) yield* Effect.yieldNow
        assert.isFalse((yield* worker.health).live)
        yield* Deferred.succeed(release, undefined)
        const report = yield* worker.await
        assert.include(String(report.failure), "the listener")
        assert.deepStrictEqual([report.succeeded, report.claimed], [1, 1])
        assert.deepStrictEqual([(yield* record(first)).state, (yield* record(second)).state], ["succeeded", "ready"])
      })
  )
})
