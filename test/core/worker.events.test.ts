/** What a worker tells: its events, its health, and the history that the backend keeps. */
import { assert, describe } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import { Backend, BackendError } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, publishRaw, record, scenario, spy, startWorker } from "../support/backends.ts"

class Broken extends Schema.TaggedError<Broken>()("Broken", { n: Schema.Number }) {}

const failing = new BackendError({
  backend: "t",
  operation: "take",
  message: "unreachable",
  retryable: true,
  outcome: "NotApplied"
})

describe("events", () => {
  class Work extends Task.make("Work", {
    payload: { what: Schema.String },
    error: Broken,
    queue: "q",
    retry: { schedule: Schedule.spaced("1 minute"), maxAttempts: 2 }
  }) {}
  const live = Work.toLayer(({ what }) =>
    Effect.gen(function*() {
      const { attempt } = yield* Job.Current
      switch (what) {
        case "fail":
          return yield* new Broken({ n: attempt })
        case "discard":
          return yield* Decide.discard("not wanted")
        case "snooze":
          return yield* Decide.snooze("1 hour", "busy")
        case "dead":
          return yield* Decide.dead("hopeless")
        case "wait":
          return yield* Effect.never
      }
    })
  )

  scenario(
    "tell what happened to each job, in order, with the worker, the attempt and one line of detail",
    () =>
      Effect.gen(function*() {
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Work), { id: "w" }).pipe(Layer.provide(live))
        )
        const events = yield* follow(worker)
        const told = (id: string) =>
          events.all.filter((event) => event.id === id).map((event) =>
            `${event._tag} ${event.attempt}${event.detail === undefined ? "" : ` ${event.detail}`}`
          )
        const run = (what: string) => Work.enqueue({ what }).pipe(Enqueue.id(what))
        for (const what of ["succeed", "fail", "discard", "snooze", "dead", "wait"]) yield* run(what)
        yield* publishRaw({ id: "unknown", task: "Nobody" }, "q")
        yield* events.until("Released")
        yield* events.until("Dead")
        yield* TestClock.adjust("1 minute")
        yield* events.until("Dead", { id: "fail" })
        yield* (yield* Capability.Cancel).request("wait")
        yield* events.until("Aborted")
        assert.deepStrictEqual(told("succeed"), ["Claimed 1", "Started 1", "Succeeded 1"])
        assert.deepStrictEqual(told("fail"), [
          "Claimed 1",
          "Started 1",
          "Failed 1 Broken",
          "Retried 1 in 60000 ms",
          "Claimed 2",
          "Started 2",
          "Failed 2 Broken",
          "Dead 2 failed"
        ])
        assert.deepStrictEqual(told("discard"), ["Claimed 1", "Started 1", "Discarded 1 not wanted"])
        assert.deepStrictEqual(told("snooze"), ["Claimed 1", "Started 1", "Snoozed 1 busy"])
        assert.deepStrictEqual(told("dead"), ["Claimed 1", "Started 1", "Dead 1 decided"])
        assert.deepStrictEqual(told("wait"), ["Claimed 1", "Started 1", "Aborted 1"])
        assert.deepStrictEqual(told("unknown").slice(0, 2), ["Claimed 1", "Released 1 no worker knows task Nobody"])
        for (const event of events.all) assert.deepInclude(event, { worker: "w", queue: "q" })
        assert.strictEqual(events.all.find((event) => event.id === "succeed")?.task, "Work")
        assert.strictEqual((yield* events.until("Dead", { id: "fail" })).at, 60_000)
      })
  )

  scenario("Interrupted and Lost are told as well; Stuck is in the tests of stops", () =>
    Effect.gen(function*() {
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
      const events = yield* follow(worker)
      const id = yield* Work.enqueue({ what: "wait" })
      yield* events.until("Started")
      yield* worker.interrupt
      assert.deepInclude(yield* events.until("Interrupted", { id }), { detail: "shutdown" })

      const broken = yield* spy((subscription) =>
        subscription.lease._tag === "Connection"
          ? subscription
          : { ...subscription, lease: { ...subscription.lease, extend: () => Effect.fail(failing) } }
      )
      const second = yield* startWorker(
        Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live), Layer.provide(broken.layer))
      )
      const more = yield* follow(second)
      // it may have claimed the job before anybody listened
      yield* TestClock.adjust("25 seconds")
      yield* more.until("Lost", { id })
    }))

  scenario("a stream of events begins when it is asked for, and several may listen", () =>
    Effect.gen(function*() {
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(Work)).pipe(Layer.provide(live)))
      const first = yield* follow(worker)
      yield* Work.enqueue({ what: "succeed" })
      yield* first.until("Succeeded")
      const second = yield* follow(worker)
      const id = yield* Work.enqueue({ what: "succeed" })
      yield* second.until("Succeeded", { id })
      yield* first.until("Succeeded", { id })
      assert.deepStrictEqual(second.tags, ["Claimed", "Started", "Succeeded"])
      assert.lengthOf(first.tags, 6)
      // the accessor of the service is the same stream
      const third = yield* Effect.forkScoped(
        Stream.runCollect(Stream.take(Worker.events, 1)).pipe(Effect.provideService(Worker.Worker, worker)),
        { startImmediately: true }
      )
      yield* Work.enqueue({ what: "succeed" })
      while (third.pollUnsafe() === undefined) yield* Effect.yieldNow
      assert.lengthOf(first.tags.filter((tag) => tag === "Claimed"), 3)
    }))
})

describe("health", () => {
  class Work extends Task.make("Work") {}
  const live = Work.toLayer(() => Effect.never)

  scenario("a worker at work or idle is live and ready, with what each queue runs", () =>
    Effect.gen(function*() {
      const worker = yield* startWorker(
        Worker.layer(TaskGroup.make(Work), { concurrency: 2 }).pipe(Layer.provide(live))
      )
      const events = yield* follow(worker)
      yield* Work.enqueue()
      yield* events.until("Started")
      const health = yield* worker.health
      assert.deepInclude(health, { live: true, ready: true, stopping: false, running: 1 })
      assert.deepInclude(health.queues[0], { queue: "default", running: 1, concurrency: 2, failures: 0 })
      yield* TestClock.adjust("2 hours")
      assert.deepInclude(yield* worker.health, { live: true, ready: true })
    }))

  for (const [how, instead] of [["fail", Effect.fail(failing)], ["hang", Effect.never]] as const) {
    scenario(
      `claims that ${how} are seen, though the heartbeats of running jobs get through`,
      () =>
        Effect.gen(function*() {
          let broken = false
          let beats = 0
          const watched = yield* spy((subscription) => ({
            ...subscription,
            take: (max) => Effect.suspend(() => broken ? instead : subscription.take(max)),
            exchange: (items, max) => Effect.suspend(() => broken ? instead : subscription.exchange(items, max)),
            // while it is broken the hints of the backend are of no use either
            await: (max) => Effect.suspend(() => broken ? Effect.void : subscription.await(max)),
            lease: subscription.lease._tag === "Connection" ? subscription.lease : {
              ...subscription.lease,
              extend: (receipts) =>
                Effect.suspend(() => {
                  beats++
                  return subscription.lease._tag === "Timed" ? subscription.lease.extend(receipts) : Effect.succeed([])
                })
            }
          }))
          const worker = yield* startWorker(
            Worker.layer(TaskGroup.make(Work), { concurrency: 2 }).pipe(
              Layer.provide(live),
              Layer.provide(watched.layer)
            )
          )
          const events = yield* follow(worker)
          yield* Work.enqueue()
          yield* events.until("Started")
          broken = true
          yield* Work.enqueue() // wakes the lane: from now on its claims get no answer
          yield* TestClock.adjust("50 seconds")
          assert.isTrue((yield* worker.health).live)
          yield* TestClock.adjust("20 seconds")
          const health = yield* worker.health
          assert.deepInclude(health, { live: false, ready: false, running: 1 })
          assert.isAtLeast(health.queues[0]!.failures, 1)
          assert.isAtLeast(health.queues[0]!.claimedAgo, 60_000)
          assert.isAtLeast(beats, 6)
          // the backend comes back
          broken = false
          yield* TestClock.adjust("30 seconds")
          yield* events.until("Started", { count: 2 })
          assert.deepInclude(yield* worker.health, { live: true, ready: true, running: 2 })
        })
    )
  }

  scenario(
    "ready asks the backend now; a full worker is live however long its jobs take",
    () =>
      Effect.gen(function*() {
        const backend = yield* Backend
        let down = false
        const layer = Layer.succeed(Backend, {
          ...backend,
          ping: Effect.suspend(() => down ? Effect.fail(failing) : backend.ping)
        })
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Work), { concurrency: 1 }).pipe(Layer.provide(live), Layer.provide(layer))
        )
        const events = yield* follow(worker)
        yield* Work.enqueue()
        yield* events.until("Started")
        yield* TestClock.adjust("1 hour")
        assert.deepInclude(yield* worker.health, { live: true, ready: true })
        down = true
        assert.deepInclude(yield* worker.health, { live: true, ready: false })
      })
  )
})

describe("history", () => {
  scenario(
    "every attempt is a line, with its worker and its error; a retry by hand keeps it and starts at attempt 1",
    () =>
      Effect.gen(function*() {
        let healed = false
        class Work extends Task.make("Work", { error: Broken, retry: Schedule.recurs(1) }) {}
        const live = Work.toLayer(() =>
          Effect.flatMap(Job.Current, (job) => healed ? Effect.void : Effect.fail(new Broken({ n: job.attempt })))
        )
        const id = yield* Work.enqueue()
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Work), { id: "w" }).pipe(Layer.provide(live)))
        const events = yield* follow(worker)
        yield* events.until("Dead")
        const dead = yield* Capability.DeadLetter
        const lines = (job: Capability.JobRecord) =>
          job.history.map((line) =>
            `${line.event} ${line.attempt} ${line.worker ?? "-"}${line.detail === undefined ? "" : ` ${line.detail}`}`
          )
        const before = yield* record(id)
        assert.strictEqual(before.history.length, 3)
        assert.match(lines(before)[0]!, /^enqueued/)
        assert.match(lines(before)[1]!, /^failed 1 w Broken/)
        assert.match(lines(before)[2]!, /^dead 2 w/)
        assert.deepStrictEqual((yield* Stream.runCollect(dead.list("default"))).map((job) => job.envelope.id), [id])

        healed = true
        assert.isTrue(yield* dead.retry(id))
        assert.isFalse(yield* dead.retry("nobody"))
        yield* events.until("Succeeded")
        const after = yield* record(id)
        assert.deepInclude(after, { state: "succeeded", attempt: 1 })
        assert.deepStrictEqual(lines(after).slice(0, 3), lines(before))
        assert.deepStrictEqual(after.history.map((line) => line.event), [
          "enqueued",
          "failed",
          "dead",
          "redriven",
          "succeeded"
        ])
        assert.isFalse(yield* dead.retry(id))
      })
  )

  scenario(
    "observers that watch only look on: a dying, a hanging and a throwing hook change nothing (L11)",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const hanging = yield* Deferred.make<void>()
        const dies = Middleware.observe({
          name: "dies",
          before: () => Effect.die("no"),
          after: () => void seen.push("never: its before died")
        })
        const throws = Middleware.observe({
          name: "throws",
          after: () => {
            seen.push("throws")
            throw new Error("no")
          }
        })
        const hangs = Middleware.observe({
          name: "hangs",
          after: () => Effect.andThen(Deferred.succeed(hanging, undefined), Effect.never)
        })
        class Work extends Task.make("Work", { success: Schema.Number }) {}
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Work), { middleware: [dies, hangs, throws] })
            .pipe(Layer.provide(Work.toLayer(() => Effect.succeed(1))))
        )
        const events = yield* follow(worker)
        yield* Work.enqueue()
        yield* Deferred.await(hanging)
        assert.notInclude(events.tags, "Succeeded")
        yield* TestClock.adjust("1 second")
        yield* events.until("Succeeded")
        assert.deepStrictEqual(seen, ["throws"])
        assert.strictEqual((yield* worker.stop).succeeded, 1)
      })
  )
})
