/** What producers of Procrastinate do: by name, with presets, with a queueing lock, and looking at what is queued. */
import { assert, describe } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import * as TestClock from "effect/testing/TestClock"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, startWorker } from "../../support/backends.ts"
import { everywhere } from "../../support/everywhere.ts"

class SendEmail extends Task.make("SendEmail", {
  payload: { to: Schema.String, subject: Schema.String, sentAt: Schema.optional(Schema.DateFromString) },
  version: 2,
  upcast: { 1: ({ address, ...rest }) => ({ to: address, ...rest }) },
  queue: "mail"
}) {}

const drain = { mode: "drain" } as const

/** runs what is queued and returns what the handler got */
const received = Effect.gen(function*() {
  const got: Array<unknown> = []
  const live = SendEmail.toLayer((payload) => Effect.sync(() => void got.push(payload)))
  const report = yield* Worker.launch(Worker.layer(TaskGroup.make(SendEmail), drain).pipe(Layer.provide(live)))
  return { got, report }
})

describe("by name: a contract that knows nothing but the name", () => {
  everywhere(
    "a producer without the task's code enqueues JSON, at any version, and the worker decodes it as its own",
    () =>
      Effect.gen(function*() {
        // the name and the version may as well come from a command line
        const byName = (name: string, version: number) =>
          Task.make(name, { payload: Schema.Json, queue: "mail", version })
        yield* byName("SendEmail", 2).enqueue({ to: "ada", subject: "hi", sentAt: "2026-01-01T00:00:00.000Z" })
        yield* byName("SendEmail", 1).enqueue({ address: "bob", subject: "old" }).pipe(
          Enqueue.delay(0),
          Enqueue.priority(-1)
        )
        const { got, report } = yield* received
        assert.strictEqual(report.succeeded, 2)
        assert.deepStrictEqual(got, [
          { to: "ada", subject: "hi", sentAt: new Date("2026-01-01T00:00:00.000Z") },
          { to: "bob", subject: "old" }
        ])
      })
  )

  scenario(
    "what does not fit the contract is dead as undecodable, a name that nobody knows as unknown",
    () =>
      Effect.gen(function*() {
        const wrong = yield* Task.make("SendEmail", { payload: Schema.Json, queue: "mail", version: 2 }).enqueue({
          to: 1
        })
        const typo = yield* Task.make("SendMail", { payload: Schema.Json, queue: "mail" }).enqueue({})
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(SendEmail), { unknownFor: "1 minute" }).pipe(
            Layer.provide(SendEmail.toLayer(() => Effect.void))
          )
        )
        const events = yield* follow(worker)
        yield* TestClock.adjust("2 minutes")
        yield* events.until("Dead", { id: typo })
        assert.deepStrictEqual([(yield* record(wrong)).reason, (yield* record(typo)).reason], [
          "undecodable",
          "unknown-task"
        ])
      })
  )
})

describe("presets", () => {
  scenario(
    "what is preset is there, the rest wins, and options are those of the enqueue",
    () =>
      Effect.gen(function*() {
        const Greet = Task.preset(SendEmail, { subject: "hi" })
        yield* Greet.enqueue({ to: "ada" })
        const [, last] = yield* Greet.enqueueMany([{ to: "bob", subject: "bye" }, { to: "eve" }]).pipe(
          Enqueue.priority(2)
        )
        assert.strictEqual((yield* record(last!)).priority, 2)
        const { got } = yield* received
        assert.deepStrictEqual(got, [
          { to: "bob", subject: "bye" },
          { to: "eve", subject: "hi" },
          { to: "ada", subject: "hi" }
        ])
      })
  )

  scenario(
    "a preset of a preset is a function, and a payload that does not fit is refused as ever",
    () =>
      Effect.gen(function*() {
        const Greet = Task.preset(SendEmail, { subject: "hi" })
        const greetAda = (rest: { readonly subject?: string } = {}) =>
          Greet.enqueue({ to: "ada", ...rest }).pipe(Enqueue.headers({ campaign: "spring" }))
        const id = yield* greetAda()
        assert.deepStrictEqual((yield* record(id)).envelope.headers, { campaign: "spring" })
        const error = yield* Effect.flip(Greet.enqueue({ to: 3 as unknown as string }))
        assert.deepInclude(error, { _tag: "windlass/InvalidEnqueue", reason: "Payload" })
      })
  )

  scenario("execute through a preset returns the typed success", () =>
    Effect.gen(function*() {
      class Add extends Task.make("Add", { payload: { a: Schema.Number, b: Schema.Number }, success: Schema.Number }) {}
      yield* startWorker(
        Worker.layer(TaskGroup.make(Add)).pipe(Layer.provide(Add.toLayer(({ a, b }) => Effect.succeed(a + b))))
      )
      assert.strictEqual(yield* Task.preset(Add, { b: 40 }).execute({ a: 2 }), 42)
    }))
})

describe("queueing locks", () => {
  everywhere(
    "PROC-42 a job that is retried has given its queueing lock back: one that waits keeps it, and both run",
    () =>
      Effect.gen(function*() {
        class Sync extends Task.make("Sync", {
          payload: { n: Schema.Number },
          error: Schema.String,
          retry: { schedule: Schedule.forever, maxAttempts: 2 }
        }) {}
        const started = yield* Queue.unbounded<string>()
        const letGo = yield* Queue.unbounded<void>()
        const live = Sync.toLayer(({ n }) =>
          Effect.gen(function*() {
            const { attempt } = yield* Job.Current
            yield* Queue.offer(started, `${n}.${attempt}`)
            if (n !== 1 || attempt !== 1) return
            yield* Queue.take(letGo)
            return yield* Effect.fail("again")
          })
        )
        const locked = Enqueue.uniqueBy("sync", { until: "started" })
        const first = yield* Sync.enqueue({ n: 1 }).pipe(locked)
        const worker = yield* startWorker(
          Worker.layer(TaskGroup.make(Sync), { concurrency: 1 }).pipe(Layer.provide(live))
        )
        const events = yield* follow(worker)
        assert.strictEqual(yield* Queue.take(started), "1.1")
        const second = yield* Sync.enqueue({ n: 2 }).pipe(locked)
        const clash = yield* Effect.flip(Sync.enqueue({ n: 3 }).pipe(locked))
        assert.deepInclude(clash, { _tag: "windlass/AlreadyEnqueued", existing: second })
        yield* Queue.offer(letGo, undefined)
        const rest = [yield* Queue.take(started), yield* Queue.take(started)]
        assert.sameMembers(rest, ["1.2", "2.1"])
        yield* events.until("Succeeded", { id: first })
        yield* events.until("Succeeded", { id: second })
      })
  )
})

describe("what is queued", () => {
  everywhere(
    "jobs by queue, task and state from the engine; by group, unique key and priority from the stream",
    () =>
      Effect.gen(function*() {
        const inspect = yield* Capability.Inspect
        class Other extends Task.make("Other", { queue: "mail" }) {}
        const send = (to: string) => SendEmail.enqueue({ to, subject: "s" })
        const a = yield* send("a").pipe(Enqueue.group("tenant-1"))
        const b = yield* send("b").pipe(Enqueue.group("tenant-1"), Enqueue.uniqueBy("b"))
        const c = yield* send("c").pipe(Enqueue.delay("1 hour"), Enqueue.group("tenant-2"))
        const d = yield* Other.enqueue().pipe(Enqueue.priority(3))
        const ids = (jobs: Iterable<Capability.JobRecord>) => Array.from(jobs, ({ envelope }) => envelope.id).toSorted()
        const list = (
          options: Omit<Parameters<typeof inspect.list>[0], "queue">,
          keep = (_: Capability.JobRecord) => true
        ) => Effect.map(Stream.runCollect(Stream.filter(inspect.list({ queue: "mail", ...options }), keep)), ids)
        assert.deepStrictEqual(yield* list({}), [a, b, c, d].toSorted())
        assert.deepStrictEqual(yield* list({ task: "Other" }), [d])
        assert.deepStrictEqual(yield* list({ states: ["scheduled"] }), [c])
        assert.deepStrictEqual(yield* list({ states: ["blocked"] }), [b])
        assert.deepStrictEqual(yield* list({}, ({ group }) => group === "tenant-1"), [a, b].toSorted())
        assert.deepStrictEqual(yield* list({}, ({ uniqueKey }) => uniqueKey === "SendEmail:b"), [b])
        assert.deepStrictEqual(yield* list({}, ({ priority }) => priority > 0), [d])
        assert.deepStrictEqual(yield* inspect.queues, ["mail"])
        assert.deepInclude(yield* inspect.counts("mail"), { scheduled: 1, active: 0, dead: 0 })
      })
  )
})
