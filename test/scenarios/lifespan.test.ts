/** The life of a program around its messages: start-up, partitions, and a stop while it polls. */
import { assert, describe } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as Scope from "effect/Scope"
import * as Channel from "windlass/bus/Channel"
import * as Enqueue from "windlass/Enqueue"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { follow, record, scenario, startWorker } from "../support/backends.ts"
import { everywhere } from "../support/everywhere.ts"

class Database extends Context.Service<Database, { readonly name: string }>()("test/Database") {}
class Refused extends Schema.TaggedError<Refused>()("Refused", { by: Schema.String }) {}
class Greet extends Channel.make("greet.{name}", { queue: "greetings" }) {}
const Greetings = TaskGroup.make(Greet)

const greeting = (seen: Array<string>) =>
  Greet.toLayer(({ parameters }) =>
    Effect.map(Database, ({ name }) => void seen.push(`greet ${parameters.name} from ${name}`))
  )

describe("a lifespan is a layer", () => {
  for (
    const [how, start] of [
      ["a typed failure", Effect.fail(new Refused({ by: "database" }))],
      ["a defect", Effect.die(new Refused({ by: "database" }))]
    ] as const
  ) {
    scenario(
      `AMGI-22 start-up that ends with ${how} fails the worker: no message is processed, what was open is closed`,
      () =>
        Effect.gen(function*() {
          const seen: Array<string> = []
          const opened = Layer.effectDiscard(
            Effect.acquireRelease(Effect.sync(() => seen.push("open")), () => Effect.sync(() => seen.push("close")))
          )
          const Broken: Layer.Layer<Database, Refused> = Layer.effect(Database, start).pipe(Layer.provide(opened))
          const id = yield* Greet.enqueue({ parameters: { name: "ada" } })
          const exit = yield* Effect.exit(
            Worker.launch(
              Worker.layer(Greetings, { mode: "drain" }).pipe(Layer.provide(greeting(seen)), Layer.provide(Broken))
            )
          )
          assert.isTrue(
            Exit.isFailure(exit) && exit.cause.reasons.some((reason) =>
              (reason._tag === "Fail" && reason.error instanceof Refused)
              || (reason._tag === "Die" && reason.defect instanceof Refused)
            )
          )
          assert.deepStrictEqual(seen, ["open", "close"])
          assert.strictEqual((yield* record(id)).state, "ready")
        })
    )
  }

  scenario("AMGI-22 a shutdown that fails is reported, after the messages were settled", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const Leaky = Layer.effect(
        Database,
        Effect.acquireRelease(
          Effect.succeed({ name: "db" }),
          () => Effect.die(new Refused({ by: "shutdown" }))
        )
      )
      const id = yield* Greet.enqueue({ parameters: { name: "ada" } })
      const exit = yield* Effect.exit(
        Worker.launch(
          Worker.layer(Greetings, { mode: "drain" }).pipe(Layer.provide(greeting(seen)), Layer.provide(Leaky))
        )
      )
      assert.isTrue(
        Exit.isFailure(exit) &&
          exit.cause.reasons.some((reason) =>
            reason._tag === "Die" && reason.defect instanceof Refused && reason.defect.by === "shutdown"
          )
      )
      assert.deepStrictEqual(seen, ["greet ada from db"])
      assert.strictEqual((yield* record(id)).state, "succeeded")
    }))

  scenario(
    "a middleware around messages and lifespan alike is one layer: its service around the run, its scope around all",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        class Connected extends Middleware.Service<Connected, { provides: Database }>()("test/Connected") {}
        const ConnectedLive = Layer.effect(
          Connected,
          Effect.acquireRelease(
            Effect.sync(() => {
              seen.push("start")
              return { name: "pool" }
            }),
            () => Effect.sync(() => seen.push("stop"))
          ).pipe(Effect.map((database): Middleware.Wrap<Database> => (next, input, job) =>
            Effect.sync(() => seen.push(`before ${job.headers["windlass-address"]}`)).pipe(
              Effect.andThen(Effect.provideService(next(input), Database, database)),
              Effect.ensuring(Effect.sync(() => seen.push("after")))
            )
          ))
        )
        class Inside extends Channel.make("inside.{name}", { middleware: [Connected] }) {}
        const InsideLive = Inside.toLayer(({ parameters }) =>
          Effect.map(Database, ({ name }) =>
            void seen.push(`${parameters.name} with ${name}`))
        )
        yield* Inside.enqueue({ parameters: { name: "a" } })
        yield* Inside.enqueue({ parameters: { name: "b" } })
        yield* Worker.launch(
          Worker.layer(TaskGroup.make(Inside), { mode: "drain", concurrency: 1 }).pipe(
            Layer.provide(InsideLive),
            Layer.provide(ConnectedLive)
          )
        )
        assert.deepStrictEqual(seen, [
          "start",
          ...["a", "b"].flatMap((name) => [`before inside.${name}`, `${name} with pool`, "after"]),
          "stop"
        ])
      })
  )

  scenario(
    "AMGI-26 a stop while it polls: the poll is interrupted, what runs finishes, then the shutdown runs",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const begun = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        const Life = Layer.effectDiscard(
          Effect.acquireRelease(Effect.void, () => Effect.sync(() => seen.push("shutdown")))
        )
        const Slow = Greet.toLayer(() =>
          Deferred.succeed(begun, undefined).pipe(
            Effect.andThen(Deferred.await(release)),
            Effect.andThen(Effect.sync(() => seen.push("finished")))
          )
        )
        const life = yield* Scope.make()
        const context = yield* Layer.buildWithScope(
          Worker.layer(Greetings, { concurrency: 2, shutdownGrace: "1 hour" }).pipe(
            Layer.provide(Slow),
            Layer.provide(Life)
          ),
          life
        )
        const worker = Context.get(context, Worker.Worker)
        const id = yield* Greet.enqueue({ parameters: { name: "ada" } })
        yield* Deferred.await(begun)
        // one runs, the other slot polls an empty queue
        const closing = yield* Effect.forkChild(Scope.close(life, Exit.void), { startImmediately: true })
        while (!(yield* worker.health).stopping) yield* Effect.yieldNow
        const late = yield* Greet.enqueue({ parameters: { name: "late" } })
        assert.deepStrictEqual(seen, [])
        yield* Deferred.succeed(release, undefined)
        yield* Fiber.join(closing)
        const report = yield* worker.await
        assert.deepStrictEqual(seen, ["finished", "shutdown"])
        assert.deepStrictEqual([report.succeeded, report.interrupted, report.claimed], [1, 0, 1])
        assert.strictEqual((yield* record(id)).state, "succeeded")
        assert.strictEqual((yield* record(late)).state, "ready")
      })
  )
})

class Record extends Channel.make("records.{offset}", {
  parameters: { offset: Schema.FiniteFromString },
  queue: "partitions",
  error: Refused,
  retry: Schedule.recurs(1)
}) {}
const Records = TaskGroup.make(Record)
const produce = (partition: string, ...offsets: ReadonlyArray<number>) =>
  Record.enqueueMany(offsets.map((offset) => ({ parameters: { offset } }))).pipe(Enqueue.group(partition))

describe("a partition is a group", () => {
  everywhere(
    "AMGI-23 ok, fail, ok in one partition: stops at the failing record, which keeps the rest back until it has ended",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const RecordLive = Record.toLayer(({ parameters: { offset } }) =>
          Effect.flatMap(Job.Current, ({ attempt, group }) => {
            seen.push(`${group} ${offset}#${attempt}`)
            return offset === 2 ? Effect.fail(new Refused({ by: "record 2" })) : Effect.void
          })
        )
        const ids = yield* Effect.scoped(Effect.gen(function*() {
          const worker = yield* startWorker(
            Worker.layer(Records, { concurrency: 5, logJobs: false }).pipe(Layer.provide(RecordLive))
          )
          const events = yield* follow(worker)
          const ids = [...(yield* produce("p0", 1, 2, 3)), ...(yield* produce("p1", 4))]
          yield* events.until("Succeeded", { count: 3 })
          yield* events.until("Dead", { id: ids[1]! })
          return ids
        }))
        assert.deepStrictEqual(seen.filter((one) => one.startsWith("p0")), ["p0 1#1", "p0 2#1", "p0 2#2", "p0 3#1"])
        assert.include(seen, "p1 4#1")
        const states = yield* Effect.forEach(ids, (id) => Effect.map(record(id), ({ state }) => state))
        assert.deepStrictEqual(states, ["succeeded", "dead", "succeeded", "succeeded"])
      })
  )

  everywhere(
    "AMGI-23 a partition that is taken away: what runs is interrupted, what was finished stays so",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const begun = yield* Deferred.make<void>()
        const handler = (first: boolean) =>
          Record.toLayer(({ parameters: { offset } }) =>
            Effect.gen(function*() {
              const { attempt } = yield* Job.Current
              seen.push(`${first ? "first" : "second"} ${offset}#${attempt}`)
              if (!first || offset === 1) return
              yield* Deferred.succeed(begun, undefined)
              return yield* Effect.onInterrupt(Effect.never, () => Effect.sync(() => seen.push("interrupted")))
            })
          )
        const ids = yield* produce("p0", 1, 2, 3)
        const options = { concurrency: 3, logJobs: false } as const
        const report = yield* Effect.scoped(Effect.gen(function*() {
          const worker = yield* startWorker(Worker.layer(Records, options).pipe(Layer.provide(handler(true))))
          yield* Deferred.await(begun)
          return yield* worker.interrupt
        }))
        assert.deepStrictEqual([report.succeeded, report.interrupted], [1, 1])
        assert.strictEqual((yield* record(ids[0]!)).state, "succeeded")
        yield* Worker.launch(
          Worker.layer(Records, { ...options, mode: "drain" }).pipe(Layer.provide(handler(false)))
        )
        assert.deepStrictEqual(seen, ["first 1#1", "first 2#1", "interrupted", "second 2#1", "second 3#1"])
      })
  )
})
