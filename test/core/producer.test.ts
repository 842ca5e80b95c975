/** The producer's side: enqueue, enqueueMany, execute, the options, and the enqueue point. */
import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Backend } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, startWorker } from "../support/backends.ts"

const drain = { mode: "drain", concurrency: 1 } as const

class Work extends Task.make("Work", { payload: { n: Schema.Number } }) {}

/** runs what is due, one after the other, and says in which order */
const order = Effect.gen(function*() {
  const seen: Array<number> = []
  const live = Work.toLayer(({ n }) => Effect.sync(() => void seen.push(n)))
  yield* Worker.launch(Worker.layer(TaskGroup.make(Work), drain).pipe(Layer.provide(live)))
  return seen
})

describe("enqueue", () => {
  scenario("returns the id of a stored job, a UUIDv7 in the order of enqueueing", () =>
    Effect.gen(function*() {
      const ids = [yield* Work.enqueue({ n: 1 })]
      yield* TestClock.adjust("1 milli")
      ids.push(yield* Work.enqueue({ n: 2 }))
      for (const id of ids) assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.isTrue(ids[0]! < ids[1]!)
      const job = yield* record(ids[0]!)
      assert.deepInclude(job, { state: "ready", queue: "default", attempt: 1, priority: 0 })
      assert.deepInclude(job.envelope, { task: "Work", version: 1, origin: "user", payload: "{\"n\":1}" })
    }))

  scenario(
    "enqueueMany stores more than the backend takes at once, in as few calls as it takes, ids in order",
    () =>
      Effect.gen(function*() {
        const sizes: Array<number> = []
        const backend = yield* Backend
        const counting = Layer.succeed(Backend, {
          ...backend,
          publish: (queue, items, options) => {
            sizes.push(items.length)
            return backend.publish(queue, items, options)
          }
        })
        const ids = yield* Effect.provide(Work.enqueueMany(Array.from({ length: 25 }, (_, n) => ({ n }))), counting)
        assert.deepStrictEqual(sizes, [10, 10, 5])
        assert.strictEqual(new Set(ids).size, 25)
        assert.strictEqual((yield* record(ids[13]!)).envelope.payload, "{\"n\":13}")
        assert.deepStrictEqual(yield* order, Array.from({ length: 25 }, (_, n) => n))
        assert.deepStrictEqual(yield* Work.enqueueMany([]), [])
      }),
    { limits: { publishBatch: 10 } }
  )

  scenario(
    "a job larger than the backend carries is refused, with both sizes in the message",
    () =>
      Effect.gen(function*() {
        class Big extends Task.make("Big", { payload: { text: Schema.String } }) {}
        yield* Big.enqueue({ text: "x".repeat(900) })
        const error = yield* Effect.flip(Big.enqueue({ text: "é".repeat(500) }))
        assert.deepInclude(error, { _tag: "windlass/InvalidEnqueue", reason: "TooLarge" })
        assert.match(error.message, /task Big: a job of 10\d\d bytes is larger than the 1000 that \w+ carries/)
      }),
    { limits: { payloadBytes: 1_000 } }
  )

  scenario("what a handler enqueues has the origin handler", () =>
    Effect.gen(function*() {
      class Parent extends Task.make("Parent") {}
      let child = ""
      const live = Parent.toLayer(() =>
        Effect.map(Effect.orDie(Work.enqueue({ n: 1 }).pipe(Enqueue.queue("other"))), (id) => void (child = id))
      )
      yield* Parent.enqueue()
      yield* Worker.launch(Worker.layer(TaskGroup.make(Parent), drain).pipe(Layer.provide(live)))
      assert.strictEqual((yield* record(child)).envelope.origin, "handler")
    }))
})

describe("the options of an enqueue", () => {
  scenario("delay and at: claimable from then on; a time that has passed means now", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust("10 minutes")
      const inFive = yield* Work.enqueue({ n: 5 }).pipe(Enqueue.delay("5 minutes"))
      yield* Work.enqueue({ n: 2 }).pipe(Enqueue.at(new Date(12 * 60_000)))
      yield* Work.enqueue({ n: 0 }).pipe(Enqueue.at(60_000))
      assert.strictEqual((yield* record(inFive)).state, "scheduled")
      assert.deepStrictEqual(yield* order, [0])
      yield* TestClock.adjust("2 minutes")
      assert.deepStrictEqual(yield* order, [2])
      yield* TestClock.adjust("3 minutes")
      assert.deepStrictEqual(yield* order, [5])
      const invalid = yield* Effect.flip(Work.enqueue({ n: 0 }).pipe(Enqueue.at(new Date("nonsense"))))
      assert.deepInclude(invalid, { _tag: "windlass/InvalidEnqueue", reason: "Option" })
    }))

  scenario("a delay longer than the backend can keep is refused with both lengths", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(Work.enqueue({ n: 1 }).pipe(Enqueue.delay("20 minutes")))
      assert.deepInclude(error, { _tag: "windlass/InvalidEnqueue", reason: "DelayTooLong" })
      assert.include(error.message, "a delay of 1200000 ms is longer than the 900000 ms")
    }), { limits: { delayMillis: 900_000 } })

  scenario("priority: higher first, then age", () =>
    Effect.gen(function*() {
      yield* Work.enqueue({ n: 1 })
      yield* Work.enqueue({ n: 2 }).pipe(Enqueue.priority(5))
      yield* Work.enqueue({ n: 3 }).pipe(Enqueue.priority(-5))
      yield* Work.enqueue({ n: 4 }).pipe(Enqueue.priority(5))
      assert.deepStrictEqual(yield* order, [2, 4, 1, 3])
    }))

  scenario(
    "uniqueBy: a second job of the key fails with the first one's id, or is the first one",
    () =>
      Effect.gen(function*() {
        class Other extends Task.make("Other", { payload: { n: Schema.Number } }) {}
        const first = yield* Work.enqueue({ n: 1 }).pipe(Enqueue.uniqueBy("key"))
        const error = yield* Effect.flip(Work.enqueue({ n: 2 }).pipe(Enqueue.uniqueBy("key")))
        assert.deepInclude(error, { _tag: "windlass/AlreadyEnqueued", existing: first })
        assert.include(error.message, `job ${first}`)
        assert.strictEqual(
          yield* Work.enqueue({ n: 2 }).pipe(Enqueue.uniqueBy("key", { onConflict: "existing" })),
          first
        )
        // keys belong to a task
        yield* Other.enqueue({ n: 1 }).pipe(Enqueue.uniqueBy("key"))
        // a key per payload; on a clash nothing of the call is stored
        const clash = yield* Effect.flip(
          Work.enqueueMany([{ n: 7 }, { n: 8 }, { n: 7 }]).pipe(Enqueue.uniqueBy(({ n }: { n: number }) => `n${n}`))
        )
        assert.strictEqual(clash._tag, "windlass/AlreadyEnqueued")
        const [a, b, c] = yield* Work.enqueueMany([{ n: 7 }, { n: 8 }, { n: 7 }]).pipe(
          Enqueue.uniqueBy(({ n }: { n: number }) => `n${n}`, { onConflict: "existing" })
        )
        assert.notStrictEqual(a, b)
        assert.strictEqual(a, c)
        // only Work's own jobs run here; Other is released
        assert.deepStrictEqual(yield* order, [1, 7, 8])
        // finished: the key is free again
        assert.notStrictEqual(yield* Work.enqueue({ n: 9 }).pipe(Enqueue.uniqueBy("key")), first)
      })
  )

  scenario("uniqueBy until started, and for a duration", () =>
    Effect.gen(function*() {
      const started = yield* Deferred.make<void>()
      const live = Work.toLayer(() => Effect.andThen(Deferred.succeed(started, undefined), Effect.never))
      const first = yield* Work.enqueue({ n: 1 }).pipe(Enqueue.uniqueBy("k", { until: "started" }))
      assert.strictEqual(
        yield* Work.enqueue({ n: 2 }).pipe(Enqueue.uniqueBy("k", { until: "started", onConflict: "existing" })),
        first
      )
      const worker = yield* startWorker(
        Worker.layer(TaskGroup.make(Work), { concurrency: 1 }).pipe(Layer.provide(live))
      )
      yield* Deferred.await(started)
      const second = yield* Work.enqueue({ n: 2 }).pipe(Enqueue.uniqueBy("k", { until: "started" }))
      assert.notStrictEqual(second, first)
      yield* worker.interrupt
      const windowed = Work.enqueue({ n: 3 }).pipe(Enqueue.uniqueBy("w", { until: "1 hour", onConflict: "existing" }))
      const third = yield* windowed
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* windowed, third)
      yield* TestClock.adjust("2 minutes")
      assert.notStrictEqual(yield* windowed, third)
    }))

  scenario("group: one at a time, in order", () =>
    Effect.gen(function*() {
      const seen: Array<number> = []
      let running = 0
      const live = Work.toLayer(({ n }) =>
        Effect.gen(function*() {
          if (n < 10) assert.strictEqual(++running, 1)
          yield* Effect.yieldNow
          seen.push(n)
          if (n < 10) running--
        })
      )
      yield* Work.enqueueMany([{ n: 1 }, { n: 2 }, { n: 3 }]).pipe(Enqueue.group("g"))
      yield* Work.enqueueMany([{ n: 11 }, { n: 12 }])
      const report = yield* Worker.launch(
        Worker.layer(TaskGroup.make(Work), { mode: "drain", concurrency: 5 }).pipe(Layer.provide(live))
      )
      assert.strictEqual(report.succeeded, 5)
      assert.deepStrictEqual(seen.filter((n) => n < 10), [1, 2, 3])
    }))

  scenario("headers: joined, the later one wins, on every job of the call", () =>
    Effect.gen(function*() {
      const ids = yield* Work.enqueueMany([{ n: 1 }, { n: 2 }]).pipe(
        Enqueue.headers({ a: "1", b: "1" }),
        Enqueue.headers({ b: "2", c: "2" })
      )
      for (const id of ids) {
        const { headers } = (yield* record(id)).envelope
        assert.deepInclude(headers, { a: "1", b: "2", c: "2" })
      }
    }))

  scenario(
    "id: the caller's own; enqueueing it again while its job lives stores nothing and returns it",
    () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* Work.enqueue({ n: 1 }).pipe(Enqueue.id("mine")), "mine")
        assert.strictEqual(yield* Work.enqueue({ n: 2 }).pipe(Enqueue.id("mine")), "mine")
        assert.deepStrictEqual(
          yield* Work.enqueueMany([{ n: 3 }, { n: 4 }]).pipe(Enqueue.id(({ n }: { n: number }, i) => `job-${i}-${n}`)),
          ["job-0-3", "job-1-4"]
        )
        assert.deepStrictEqual(yield* order, [1, 3, 4])
      })
  )

  scenario("atomic: all or none, and never in two calls", () =>
    Effect.gen(function*() {
      const payloads = [{ n: 1 }, { n: 2 }]
      yield* Work.enqueueMany(payloads).pipe(Enqueue.atomic)
      const error = yield* Effect.flip(Work.enqueueMany([...payloads, { n: 3 }, { n: 4 }]).pipe(Enqueue.atomic))
      assert.deepInclude(error, { _tag: "windlass/InvalidEnqueue", reason: "Option" })
      assert.match(error.message, /4 jobs cannot be stored as one: \w+ takes 3 at once/)
      // one of them is there already: nothing is stored, and nobody is told that it was
      yield* Work.enqueue({ n: 3 }).pipe(Enqueue.id("job-3"), Enqueue.uniqueBy("n3"))
      const byId = Enqueue.id(({ n }: { n: number }) => `job-${n}`)
      const there = yield* Effect.flip(Work.enqueueMany([{ n: 4 }, { n: 3 }]).pipe(byId, Enqueue.atomic))
      assert.deepInclude(there, { _tag: "windlass/AlreadyEnqueued", existing: "job-3" })
      const byKey = Enqueue.uniqueBy(({ n }: { n: number }) => `n${n}`, { onConflict: "existing" })
      const same = yield* Effect.flip(Work.enqueueMany([{ n: 4 }, { n: 3 }]).pipe(byKey, Enqueue.atomic))
      assert.deepInclude(same, { _tag: "windlass/AlreadyEnqueued", existing: "job-3" })
      assert.deepStrictEqual(yield* order, [1, 2, 3])
      // asked for once more after an answer was lost: all of it is there
      yield* Work.enqueueMany([{ n: 5 }, { n: 6 }]).pipe(byId, Enqueue.atomic)
      assert.deepStrictEqual(yield* Work.enqueueMany([{ n: 5 }, { n: 6 }]).pipe(byId, Enqueue.atomic), [
        "job-5",
        "job-6"
      ])
      assert.deepStrictEqual(yield* order, [5, 6])
    }), { limits: { publishBatch: 3 } })

  scenario("options may be combined, and an enqueue with options may be run twice", () =>
    Effect.gen(function*() {
      const enqueue = Work.enqueue({ n: 1 }).pipe(
        Enqueue.delay("1 minute"),
        Enqueue.priority(3),
        Enqueue.group("g"),
        Enqueue.headers({ a: "b" }),
        Enqueue.queue("q")
      )
      const [one, two] = [yield* enqueue, yield* enqueue]
      assert.notStrictEqual(one, two)
      for (const id of [one, two]) {
        assert.deepInclude(yield* record(id), {
          state: "scheduled",
          priority: 3,
          group: "g",
          queue: "q",
          dueAt: 60_000
        })
      }
    }))
})

describe("execute", () => {
  class Refused extends Schema.TaggedError<Refused>()("Refused", { why: Schema.String }) {}
  class NoTenant extends Schema.TaggedError<NoTenant>()("NoTenant", {}) {}
  class Guard extends Middleware.Service<Guard>()("t/Guard", { error: NoTenant }) {}
  class Ask extends Task.make("Ask", {
    payload: { what: Schema.String },
    success: Schema.Struct({ answer: Schema.String }),
    error: Refused,
    middleware: [Guard]
  }) {}
  const live = Ask.toLayer(({ what }) =>
    Effect.gen(function*() {
      switch (what) {
        case "refuse":
          return yield* new Refused({ why: "no" })
        case "discard":
          return yield* Decide.discard("not wanted")
        case "dead":
          return yield* Decide.dead("hopeless")
        case "die":
          return yield* Effect.die(new Error("a bug"))
        case "never":
          return yield* Effect.never
        default:
          return { answer: what }
      }
    })
  ).pipe(
    Layer.provide(
      Layer.succeed(
        Guard,
        (next, input, job) => job.headers["tenant"] === "none" ? Effect.fail(new NoTenant()) : next(input)
      )
    )
  )

  scenario(
    "the success, and the failures that the task and its middleware declare, typed",
    () =>
      Effect.gen(function*() {
        yield* startWorker(Worker.layer(TaskGroup.make(Ask)).pipe(Layer.provide(live)))
        assert.deepStrictEqual(yield* Ask.execute({ what: "six" }), { answer: "six" })
        const refused = yield* Effect.flip(Ask.execute({ what: "refuse" }))
        assert.deepStrictEqual(refused, new Refused({ why: "no" }))
        const none = yield* Effect.flip(Ask.execute({ what: "six" }).pipe(Enqueue.headers({ tenant: "none" })))
        assert.instanceOf(none, NoTenant)
      })
  )

  scenario("Discarded, Aborted and Dead for jobs that ended otherwise", () =>
    Effect.gen(function*() {
      const worker = yield* startWorker(Worker.layer(TaskGroup.make(Ask)).pipe(Layer.provide(live)))
      const events = yield* follow(worker)
      const discarded = yield* Effect.flip(Ask.execute({ what: "discard" }))
      assert.deepInclude(discarded, { _tag: "windlass/Discarded", reason: "not wanted" })
      const decided = yield* Effect.flip(Ask.execute({ what: "dead" }))
      assert.deepInclude(decided, { _tag: "windlass/Dead", reason: "decided" })
      const died = yield* Effect.flip(Ask.execute({ what: "die" }))
      assert.deepInclude(died, { _tag: "windlass/Dead", reason: "failed" })
      const waiting = yield* Effect.forkScoped(
        Effect.flip(Ask.execute({ what: "never" }).pipe(Enqueue.id("never"))),
        { startImmediately: true }
      )
      yield* events.until("Started", { id: "never" })
      yield* (yield* Capability.Cancel).request("never")
      yield* events.until("Aborted")
      while (waiting.pollUnsafe() === undefined) yield* Effect.yieldNow
      assert.deepInclude(yield* waiting.pollUnsafe() ?? Exit.die("no"), { _tag: "windlass/Aborted", id: "never" })
    }))

  scenario(
    "waits over retries, takes options, and an interrupted wait leaves the job in the queue",
    () =>
      Effect.gen(function*() {
        let tries = 0
        class Flaky extends Task.make("Flaky", {
          success: Schema.Number,
          error: Refused,
          retry: Schedule.spaced("1 hour").pipe(Schedule.upTo({ times: 3 }))
        }) {}
        const flaky = Flaky.toLayer(() =>
          Effect.suspend(() => ++tries < 3 ? Effect.fail(new Refused({ why: "yet" })) : Effect.succeed(tries))
        )
        const waiting = yield* Effect.forkScoped(Flaky.execute().pipe(Enqueue.delay("1 hour")), {
          startImmediately: true
        })
        const left = yield* Effect.forkScoped(Flaky.execute().pipe(Enqueue.id("left")), { startImmediately: true })
        while ((yield* (yield* Capability.Inspect).counts("default")).ready === 0) yield* Effect.yieldNow
        left.interruptUnsafe()
        assert.strictEqual((yield* record("left")).state, "ready")
        yield* (yield* Capability.Cancel).request("left")
        const worker = yield* startWorker(Worker.layer(TaskGroup.make(Flaky)).pipe(Layer.provide(flaky)))
        const events = yield* follow(worker)
        yield* TestClock.adjust("4 hours")
        yield* events.until("Succeeded")
        while (waiting.pollUnsafe() === undefined) yield* Effect.yieldNow
        assert.strictEqual(yield* waiting.pollUnsafe() ?? Exit.die("no"), 3)
      })
  )
})

describe("the enqueue point", () => {
  scenario("sees every new job once, whoever asks for it, and never a retry (L7)", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      class Broken extends Schema.TaggedError<Broken>()("Broken", {}) {}
      class Child extends Task.make("Child", { payload: { n: Schema.Number } }) {}
      class Parent extends Task.make("Parent", { error: Broken, retry: Schedule.recurs(2) }) {}
      const point = Enqueue.layer((next, batch) =>
        Effect.suspend(() => {
          seen.push(`${batch.task} x${batch.items.length} ${batch.items[0]!.envelope.origin} ${batch.queue}`)
          return next(batch)
        })
      )
      yield* Effect.provide(
        Effect.gen(function*() {
          const live = Layer.mergeAll(
            Parent.toLayer(() =>
              Effect.gen(function*() {
                const job = yield* Job.Current
                if (job.attempt < 3) return yield* new Broken()
                yield* Effect.orDie(Child.enqueueMany([{ n: 1 }, { n: 2 }]))
              })
            ),
            Child.toLayer(() => Effect.void)
          )
          yield* Parent.enqueue()
          const report = yield* Worker.launch(
            Worker.layer(TaskGroup.make(Parent, Child), drain).pipe(Layer.provide(live))
          )
          assert.deepStrictEqual([report.succeeded, report.retried], [3, 2])
        }),
        point
      )
      assert.deepStrictEqual(seen, ["Parent x1 user default", "Child x2 handler default"])
    }))

  scenario("may rewrite jobs, drop some, and refuse a call with a typed error", () =>
    Effect.gen(function*() {
      const rewrite = Enqueue.mapItems((item) => ({
        ...item,
        priority: 7,
        envelope: { ...item.envelope, headers: { ...item.envelope.headers, by: "middleware" } }
      }))
      const ids = yield* Work.enqueueMany([{ n: 1 }, { n: 2 }]).pipe(Effect.provide(Enqueue.layer(rewrite)))
      assert.deepInclude(yield* record(ids[0]!), { priority: 7 })
      assert.deepInclude((yield* record(ids[1]!)).envelope.headers, { by: "middleware" })

      const even = Enqueue.dropWhen((item) =>
        Effect.succeed(JSON.parse(item.envelope.payload).n % 2 === 0 ? "even" : undefined)
      )
      const three = yield* Work.enqueueMany([{ n: 3 }, { n: 4 }, { n: 5 }]).pipe(Effect.provide(Enqueue.layer(even)))
      assert.lengthOf(three, 3)
      assert.isTrue((yield* (yield* Capability.Inspect).get(three[1]!))._tag === "None")

      const dropped = yield* Effect.flip(Work.execute({ n: 8 }).pipe(Effect.provide(Enqueue.layer(even))))
      assert.deepInclude(dropped, { _tag: "windlass/Discarded", reason: "even" })

      const refuse: Enqueue.Wrap = () => Effect.fail(new Enqueue.Refused({ by: "quota", reason: "too many" }))
      const error = yield* Effect.flip(Work.enqueue({ n: 6 }).pipe(Effect.provide(Enqueue.layer(refuse))))
      assert.deepInclude(error, { _tag: "windlass/Refused", by: "quota", reason: "too many" })
      assert.deepStrictEqual(yield* order, [1, 2, 3, 5])
    }))

  scenario("a wrap that answers for fewer jobs than it got is a defect that says so", () =>
    Effect.gen(function*() {
      const wrong: Enqueue.Wrap = (next, batch) => Effect.map(next(batch), (answers) => answers.slice(1))
      const exit = yield* Effect.exit(Work.enqueue({ n: 1 }).pipe(Effect.provide(Enqueue.layer(wrong))))
      assert.include(String(exit), "answered 0 of 1 jobs")
    }))

  scenario("a wrap may need services, and what it opens is closed when its call ends", () =>
    Effect.gen(function*() {
      const log: Array<string> = []
      class Quota extends Context.Service<Quota, { readonly name: string }>()("t/Quota") {}
      const wrap: Enqueue.Wrap<Quota> = (next, batch) =>
        Effect.gen(function*() {
          const quota = yield* Quota
          yield* Effect.acquireRelease(
            Effect.sync(() => log.push(`open ${quota.name}`)),
            () => Effect.sync(() => log.push("close"))
          )
          return yield* Effect.tap(next(batch), () => Effect.sync(() => log.push("stored")))
        })
      const layer = Enqueue.layer(wrap).pipe(Layer.provide(Layer.succeed(Quota, { name: "q" })))
      yield* Work.enqueue({ n: 1 }).pipe(Effect.provide(layer))
      assert.deepStrictEqual(log, ["open q", "stored", "close"])
    }))
})
