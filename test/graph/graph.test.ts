/** Graphs of jobs: order, joins, what becomes of them when a node fails, and what a crash cannot do to them. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import * as Option from "effect/Option"
import * as Queue from "effect/Queue"
import * as References from "effect/References"
import * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import * as TestClock from "effect/testing/TestClock"
import { Backend, BackendError, type Delivery } from "windlass/Backend"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Enqueue from "windlass/Enqueue"
import * as Graph from "windlass/Graph"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { Faults } from "windlass/testing"
import * as Worker from "windlass/Worker"
import { cursorsOf } from "../../src/internal/graph/arrive.ts"
import { header } from "../../src/internal/graph/model.ts"
import { type Engine, follow, memory, record, startWorker } from "../support/backends.ts"
import { everywhere } from "../support/everywhere.ts"

class Step extends Task.make("Step", { payload: { name: Schema.String }, retry: Schedule.recurs(2) }) {}
class Other extends Task.make("Other", { payload: { name: Schema.String }, queue: "others" }) {}

type Enqueued = ReturnType<typeof Step.enqueue>

function step(name: string): { readonly enqueue: Enqueued }
function step<const After extends string>(
  name: string,
  after: ReadonlyArray<After>,
  when?: "succeeded" | "ended"
): { readonly enqueue: Enqueued; readonly after: ReadonlyArray<After>; readonly when: typeof when }
function step(name: string, after?: ReadonlyArray<string>, when?: "succeeded" | "ended"): Graph.Node<Backend> {
  return { enqueue: Step.enqueue({ name }), after, when }
}

/** names that the compiler does not know */
const loose = (nodes: Readonly<Record<string, Graph.Node<Backend>>>) => Graph.make(nodes)

/** a worker whose handlers say their names, and do what they are told first */
const work = (
  behave: (name: string) => Effect.Effect<void, Decide.Decide, Job.Current> = () => Effect.void,
  options: Worker.Options = {}
) =>
  Effect.gen(function*() {
    const ran = yield* Queue.unbounded<string>()
    const handler = ({ name }: { readonly name: string }) =>
      Effect.andThen(behave(name), Effect.asVoid(Queue.offer(ran, name)))
    const worker = yield* startWorker(
      Worker.layer(TaskGroup.make(Step, Other), { logJobs: false, ...options }).pipe(
        Layer.provide([Step.toLayer(handler), Other.toLayer(handler)])
      )
    )
    return { ran, worker, events: yield* follow(worker) }
  })

/** a test on the memory engine, on TestClock; `withFaults`: on one that goes wrong on demand */
const scenario = Object.assign(
  (name: string, body: () => Effect.Effect<void, unknown, Engine | Scope.Scope>): void => {
    it.effect(name, () => Effect.provide(Effect.scoped(body()), memory()))
  },
  {
    withFaults: (
      name: string,
      body: (faults: Faults.Faults["Service"]) => Effect.Effect<void, unknown, Engine | Scope.Scope>
    ): void => {
      it.effect(
        name,
        () => Effect.provide(Effect.scoped(Effect.flatMap(Faults.Faults, body)), Faults.layer(memory()))
      )
    }
  }
)

/** the cursors of these nodes that the engine still has */
const left = (graph: string, nodes: Readonly<Record<string, number>>, queue = "default") =>
  Effect.flatMap(Capability.Cursor, (cursor) =>
    Effect.map(
      Effect.forEach(
        Object.entries(nodes).flatMap(([node, after]) => cursorsOf(graph, node, after)),
        (name) => Effect.map(cursor.get(queue, name), (at) => at === undefined ? [] : [name])
      ),
      (found) => found.flat()
    ))

describe("on every engine", () => {
  everywhere(
    "a graph runs in its order, over two queues, each node once, and leaves nothing behind",
    () =>
      Effect.gen(function*() {
        const { ran, worker } = yield* work()
        const graph = Graph.make({
          a: step("a"),
          b: step("b", ["a"]),
          c: { enqueue: Other.enqueue({ name: "c" }), after: ["a"] },
          d: step("d", ["b", "c"]),
          e: { enqueue: Other.enqueue({ name: "e" }), after: ["d"] }
        })
        const id = yield* Graph.enqueue(graph)
        const order = yield* Queue.takeN(ran, 5)
        assert.deepStrictEqual([order[0], ...order.slice(1, 3).toSorted(), order[3], order[4]], [
          "a",
          "b",
          "c",
          "d",
          "e"
        ])
        const report = yield* worker.stop
        assert.strictEqual(report.succeeded, 5)
        assert.deepStrictEqual(yield* left(id, { b: 1, d: 2 }), [])
        assert.deepStrictEqual(yield* left(id, { c: 1, e: 1 }, "others"), [])
        assert.strictEqual((yield* record(`${id}/e`)).state, "succeeded")
      })
  )

  everywhere("a join of seventy, which arrive all at once, runs once", () =>
    Effect.gen(function*() {
      const { ran, worker } = yield* work(() => Effect.void, { concurrency: 20 })
      const names = Array.from({ length: 70 }, (_, i) => `n${i}`)
      const graph = loose({
        ...Object.fromEntries(names.map((name) => [name, step(name)])),
        join: step("join", names)
      })
      const id = yield* Graph.enqueue(graph)
      const order = yield* Queue.takeN(ran, 71)
      assert.strictEqual(order[70], "join")
      assert.deepStrictEqual(order.slice(0, 70).toSorted(), names.toSorted())
      yield* worker.stop
      // three words, and the one that they arrive at
      assert.strictEqual(cursorsOf(id, "join", 70).length, 4)
      assert.deepStrictEqual(yield* left(id, { join: 70, n0: 1, n69: 1 }), [])
    }))

  everywhere("a worker that drains goes on until a chain over its queues is at its end", () =>
    Effect.gen(function*() {
      const id = yield* Graph.enqueue(Graph.chain(
        Step.enqueue({ name: "1" }),
        Other.enqueue({ name: "2" }),
        Step.enqueue({ name: "3" }),
        Other.enqueue({ name: "4" })
      ))
      const { worker } = yield* work(() => Effect.void, { mode: "drain" })
      assert.strictEqual((yield* worker.await).succeeded, 4)
      assert.strictEqual((yield* record(`${id}/4`)).state, "succeeded")
    }))
})

describe("a node that does not succeed", () => {
  scenario(
    "holds what comes after it; what takes any end goes on; redriven, it continues",
    () =>
      Effect.gen(function*() {
        let broken = true
        const { events, ran } = yield* work((name) =>
          name === "b" && broken ? Effect.fail(Decide.dead("broken")) : Effect.void
        )
        const graph = Graph.make({
          a: step("a"),
          b: step("b", ["a"]),
          c: step("c", ["b"]),
          d: step("d", ["c"]),
          always: step("always", ["b"], "ended")
        })
        const id = yield* Graph.enqueue(graph)
        yield* events.until("Dead", { id: `${id}/b` })
        yield* events.until("Succeeded", { id: `${id}/always` })
        assert.deepStrictEqual(yield* Queue.takeAll(ran), ["a", "always"])
        const inspect = yield* Capability.Inspect
        assert.isTrue(Option.isNone(yield* inspect.get(`${id}/c`)), "it is not there before its turn")

        broken = false
        // long after the unique key of what ran already has ended
        yield* TestClock.adjust("30 days")
        const dead = yield* Capability.DeadLetter
        assert.isTrue(yield* dead.retry(`${id}/b`))
        yield* events.until("Succeeded", { id: `${id}/d` })
        assert.deepStrictEqual(yield* Queue.takeAll(ran), ["b", "c", "d"], "and what ran already does not run again")
      })
  )

  scenario("is tried again before anything after it is enqueued", () =>
    Effect.gen(function*() {
      const { events, ran } = yield* work((name) =>
        Effect.flatMap(Job.Current, ({ attempt }) =>
          name === "a" && attempt < 3 ? Effect.die(new Error("not yet")) : Effect.void)
      )
      const id = yield* Graph.enqueue(Graph.chain(Step.enqueue({ name: "a" }), Step.enqueue({ name: "b" })))
      yield* events.until("Succeeded", { id: `${id}/2` })
      assert.deepStrictEqual(yield* Queue.takeAll(ran), ["a", "b"])
      assert.deepStrictEqual(
        events.all.filter(({ _tag }) =>
          _tag === "Retried"
        ).map(({ id }) => id),
        [
          `${id}/1`,
          `${id}/1`
        ]
      )
    }))

  for (const [how, decide] of [["discarded", Decide.discard()], ["snoozed", Decide.snooze("1 minute")]] as const) {
    scenario(
      `one that was ${how} ${how === "discarded" ? "ends its branch" : "is waited for"}`,
      () =>
        Effect.gen(function*() {
          let first = true
          const { events, ran } = yield* work((name) =>
            Effect.suspend(() => {
              if (name !== "a" || !first) return Effect.void
              first = false
              return Effect.fail(decide)
            })
          )
          const id = yield* Graph.enqueue(Graph.make({
            a: step("a"),
            b: step("b", ["a"]),
            any: step("any", ["a"], "ended")
          }))
          if (how === "discarded") {
            yield* events.until("Succeeded", { id: `${id}/any` })
            assert.deepStrictEqual(yield* Queue.takeAll(ran), ["any"])
          } else {
            yield* events.until("Snoozed", { id: `${id}/a` })
            assert.strictEqual(yield* Queue.size(ran), 0)
            yield* TestClock.adjust("1 minute")
            yield* events.until("Succeeded", { id: `${id}/b` })
            yield* events.until("Succeeded", { id: `${id}/any` })
            assert.deepStrictEqual((yield* Queue.takeAll(ran)).toSorted(), ["a", "any", "b"])
          }
        })
    )
  }

  scenario("one that cannot be decoded, or that is cancelled as it is claimed, ends too", () =>
    Effect.gen(function*() {
      const id = yield* Graph.enqueue(Graph.make({
        a: step("a"),
        b: { enqueue: Step.enqueue({ name: "b" }), after: ["a"] },
        after: step("after", ["b"], "ended")
      }))
      const backend = yield* Backend
      const subscription = yield* backend.subscribe("default", { worker: "other" })
      const [{ envelope, receipt }] = (yield* subscription.take(1)) as [Delivery]
      // what an older program might have stored: the payload of b makes no sense to this one
      const stored = JSON.parse(envelope.headers[header]!)
      stored.rest.b.item.envelope.payload = "{}"
      yield* subscription.settle([[receipt, { _tag: "Complete", how: "aborted", exit: undefined, reason: undefined }]])
      yield* backend.publish("default", [{
        envelope: { ...envelope, headers: { [header]: JSON.stringify(stored) } }
      }])
      const { events, ran } = yield* work()
      yield* events.until("Succeeded", { id: `${id}/after` })
      assert.strictEqual((yield* record(`${id}/b`)).reason, "undecodable")
      assert.deepStrictEqual(yield* Queue.takeAll(ran), ["a", "after"])
    }))

  scenario("is told of in the log, with the nodes that it holds up", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
        const { graph, node } = fiber.getRef(References.CurrentLogAnnotations)
        if (logLevel === "Warn") lines.push(`${graph}/${node}: ${Array.isArray(message) ? message[0] : message}`)
      })
      const { events } = yield* Effect.provide(
        work((name) => Effect.fail(name === "a" ? Decide.dead() : Decide.discard())),
        Logger.layer([logger])
      )
      yield* Graph.enqueue(
        Graph.make({
          a: step("a"),
          b: step("b", ["a"]),
          c: step("c", ["a"]),
          d: step("d", ["a"], "ended"),
          e: step("e", ["d"]),
          f: step("f", ["e"])
        }),
        { id: "g" }
      )
      yield* events.until("Discarded", { id: "g/d" })
      assert.deepStrictEqual(lines, [
        "g/a: node a of graph g is dead, so b, c will not run unless it is redriven and succeeds",
        "g/d: node d of graph g is discarded, so e will never run"
      ])
    }))
})

describe("a crash", () => {
  const chain = Graph.chain(Step.enqueue({ name: "a" }), Step.enqueue({ name: "b" }))

  scenario.withFaults(
    "between the enqueue of the next node and the settlement: the node runs again, the next one does not (L16)",
    (faults) =>
      Effect.gen(function*() {
        let first = true
        const { events, ran } = yield* work((name) =>
          Effect.suspend(() => {
            if (name !== "a" || !first) return Effect.void
            first = false
            // from here on somebody else owns it, and this worker does not know: as if it died before it could settle
            return Effect.asVoid(Effect.orDie(faults.loseLease("g/1")))
          })
        )
        yield* Graph.enqueue(chain, { id: "g" })
        yield* events.until("Succeeded", { id: "g/1" })
        yield* events.until("Succeeded", { id: "g/2" })
        assert.deepStrictEqual((yield* Queue.takeAll(ran)).toSorted(), ["a", "a", "b"])
        assert.strictEqual((yield* faults.deliveriesOf("g/2")).length, 1)
        assert.deepStrictEqual((yield* faults.settlementsOf("g/1")).map(({ answer }) => answer), ["Lost", "Settled"])
      })
  )

  const advancing = (fail: (tries: number) => { readonly applied: boolean; readonly retryable: boolean } | undefined) =>
    Effect.map(Capability.Cursor, (cursor): Capability.Cursor["Service"] => {
      let tries = 0
      return {
        ...cursor,
        advance: (move, items) =>
          Effect.suspend(() => {
            const failure = fail(++tries)
            if (failure === undefined) return cursor.advance(move, items)
            const error = new BackendError({
              backend: "memory",
              operation: "cursor",
              message: "broken",
              retryable: failure.retryable,
              outcome: failure.applied ? "Unknown" : "NotApplied"
            })
            return Effect.andThen(
              failure.applied ? Effect.asVoid(cursor.advance(move, items)) : Effect.void,
              Effect.fail(error)
            )
          })
      }
    })

  scenario.withFaults(
    "a worker that was frozen, and arrives after all is over and forgotten, enqueues nothing",
    (faults) =>
      Effect.gen(function*() {
        // its first move fails, and while it waits for the second try the job is somebody else's, who does it all
        const cursor = yield* advancing((tries) => tries === 1 ? { applied: false, retryable: true } : undefined)
        let first = true
        const { events, ran } = yield* Effect.provideService(
          work((name) =>
            Effect.suspend(() => {
              if (name !== "a" || !first) return Effect.void
              first = false
              return Effect.asVoid(Effect.orDie(faults.loseLease("g/1")))
            })
          ),
          Capability.Cursor,
          cursor
        )
        yield* Graph.enqueue(chain, { id: "g" })
        yield* events.until("Succeeded", { id: "g/1" })
        yield* events.until("Succeeded", { id: "g/2" })
        assert.deepStrictEqual(yield* left("g", { 2: 1 }), [], "forgotten")
        yield* TestClock.adjust("1 minute")
        yield* events.until("Lost", { id: "g/1" })
        assert.deepStrictEqual((yield* Queue.takeAll(ran)).toSorted(), ["a", "a", "b"])
        assert.strictEqual((yield* faults.deliveriesOf("g/2")).length, 1)
      })
  )

  for (const applied of [true, false]) {
    scenario(
      `a call that fails is tried again before the node is settled, whether it had been applied (${applied})`,
      () =>
        Effect.gen(function*() {
          const cursor = yield* advancing((tries) => tries <= 2 ? { applied, retryable: true } : undefined)
          const { events, ran } = yield* Effect.provideService(work(), Capability.Cursor, cursor)
          const id = yield* Graph.enqueue(chain)
          yield* Effect.forkScoped(Effect.forever(TestClock.adjust("100 millis")))
          yield* events.until("Succeeded", { id: `${id}/2` })
          assert.deepStrictEqual(yield* Queue.takeAll(ran), ["a", "b"])
        })
    )
  }

  scenario(
    "an engine that refuses for good: the node is given back and runs again, it never ends alone (L4)",
    () =>
      Effect.gen(function*() {
        const cursor = yield* advancing((tries) => tries === 1 ? { applied: false, retryable: false } : undefined)
        const { events, ran, worker } = yield* Effect.provideService(work(), Capability.Cursor, cursor)
        const id = yield* Graph.enqueue(chain)
        const { detail } = yield* events.until("Released", { id: `${id}/1` })
        assert.include(detail, "could not be enqueued: windlass/BackendError: broken")
        yield* TestClock.adjust("5 seconds")
        yield* events.until("Succeeded", { id: `${id}/2` })
        assert.deepStrictEqual(yield* Queue.takeAll(ran), ["a", "a", "b"])
        assert.strictEqual((yield* worker.stop).succeeded, 2)
      })
  )
})

describe("enqueueing a graph", () => {
  scenario(
    "every node passes the enqueue point once, then and there, and no more later (L7)",
    () =>
      Effect.gen(function*() {
        const seen: Array<string> = []
        const mark = Enqueue.mapItems((item) => {
          seen.push(item.envelope.id)
          return { ...item, envelope: { ...item.envelope, headers: { ...item.envelope.headers, tenant: "acme" } } }
        })
        const tenants: Array<string | undefined> = []
        const { events } = yield* work(() =>
          Effect.map(Job.Current, ({ headers }) => void tenants.push(headers["tenant"]))
        )
        const id = yield* Effect.provide(
          Graph.enqueue(Graph.make({ a: step("a"), b: step("b", ["a"]), c: step("c", ["b"]) }), { id: "g" }),
          Enqueue.layer(mark)
        )
        assert.strictEqual(id, "g")
        yield* events.until("Succeeded", { id: "g/c" })
        assert.deepStrictEqual(seen, ["g/a", "g/b", "g/c"])
        assert.deepStrictEqual(tenants, ["acme", "acme", "acme"])
      })
  )

  scenario(
    "what the enqueue point made of a later node is what the first job carries: nothing is sealed too late",
    () =>
      Effect.gen(function*() {
        const seal = Enqueue.mapItems((item) => ({
          ...item,
          envelope: { ...item.envelope, payload: Buffer.from(item.envelope.payload).toString("base64") }
        }))
        const graph = Graph.make({ a: step("a"), b: step("a secret", ["a"]) })
        yield* Effect.provide(Graph.enqueue(graph, { id: "g" }), Enqueue.layer(seal))
        const stored = JSON.stringify((yield* record("g/a")).envelope)
        assert.notInclude(stored, "a secret")
        assert.include(stored, Buffer.from("{\"name\":\"a secret\"}").toString("base64"))
      })
  )

  scenario(
    "is one publish, also when it begins with several nodes; the same id is stored once",
    () =>
      Effect.gen(function*() {
        const backend = yield* Backend
        let publishes = 0
        const counted = {
          ...backend,
          publish: (...args: Parameters<typeof backend.publish>) =>
            Effect.suspend(() => {
              publishes++
              return backend.publish(...args)
            })
        }
        const graph = Graph.make({ a: step("a"), b: step("b"), c: step("c", ["a", "b"]) })
        yield* Effect.provideService(Graph.enqueue(graph, { id: "g" }), Backend, counted)
        assert.strictEqual(publishes, 1)
        yield* Graph.enqueue(graph, { id: "g" })
        const inspect = yield* Capability.Inspect
        assert.strictEqual((yield* inspect.counts("default")).ready, 1)
        const { events, ran } = yield* work()
        yield* events.until("Succeeded", { id: "g/c" })
        assert.deepStrictEqual((yield* Queue.takeAll(ran)).toSorted(), ["a", "b", "c"])
      })
  )

  scenario("options of a node hold when its turn comes: a delay counts from then", () =>
    Effect.gen(function*() {
      const { events } = yield* work()
      const graph = Graph.make({
        a: { enqueue: Step.enqueue({ name: "a" }).pipe(Enqueue.delay("1 hour")) },
        b: { enqueue: Step.enqueue({ name: "b" }).pipe(Enqueue.delay("1 hour"), Enqueue.priority(3)), after: ["a"] }
      })
      const id = yield* Graph.enqueue(graph)
      yield* TestClock.adjust("1 hour")
      yield* events.until("Succeeded", { id: `${id}/a` })
      const waiting = yield* record(`${id}/b`)
      assert.strictEqual(waiting.state, "scheduled")
      assert.strictEqual(waiting.priority, 3)
      yield* TestClock.adjust("1 hour")
      yield* events.until("Succeeded", { id: `${id}/b` })
    }))

  scenario("what cannot be a graph's is refused with its type, and nothing is stored", () =>
    Effect.gen(function*() {
      const nothing = Effect.flatMap(Capability.Inspect, (inspect) =>
        Effect.map(inspect.counts("default"), ({ ready }) => assert.strictEqual(ready, 0)))
      const unique = yield* Effect.flip(Graph.enqueue(Graph.make({
        a: step("a"),
        b: {
          enqueue: Step.enqueue({ name: "b" }).pipe(Enqueue.uniqueBy("k", { onConflict: "existing" })),
          after: ["a"]
        }
      })))
      assert.instanceOf(unique, Enqueue.InvalidEnqueue)
      assert.include(unique.message, "node b of a graph has a unique key")
      yield* nothing
      const dropped = yield* Effect.flip(
        Effect.provide(
          Graph.enqueue(Graph.make({ a: step("a"), b: step("b", ["a"]) })),
          Enqueue.layer(Enqueue.dropWhen((item) =>
            Effect.succeed(item.envelope.id.endsWith("/b") ? "no" : undefined)
          ))
        )
      )
      assert.instanceOf(dropped, Enqueue.Refused)
      yield* nothing
      const large = yield* Effect.flip(Graph.enqueue(Graph.make({
        a: step("a"),
        b: step("b".repeat(600_000), ["a"]),
        c: step("c".repeat(600_000), ["a"])
      })))
      assert.instanceOf(large, Enqueue.InvalidEnqueue)
      assert.strictEqual((large as Enqueue.InvalidEnqueue).reason, "TooLarge")
      assert.include(large.message, "a graph of 3 nodes is 12")
      yield* nothing
    }))

  it("a graph that cannot end is not made", () => {
    const thrown = (make: () => unknown): Graph.InvalidGraph => {
      try {
        make()
      } catch (error) {
        assert.instanceOf(error, Graph.InvalidGraph)
        return error as Graph.InvalidGraph
      }
      throw new Error("nothing was thrown")
    }
    const circle = thrown(() =>
      loose({ a: step("a"), b: step("b", ["a", "d"]), c: step("c", ["b"]), d: step("d", ["c"]) })
    )
    assert.strictEqual(circle.reason, "Circle")
    assert.deepStrictEqual(circle.nodes, ["b", "d", "c"])
    assert.include(circle.message, "b comes after d comes after c comes after b")
    assert.strictEqual(thrown(() => loose({ a: step("a", ["a"]) })).reason, "Circle")
    assert.strictEqual(thrown(() => loose({ a: step("a", ["b"]) })).reason, "UnknownNode")
    assert.strictEqual(thrown(() => loose({})).reason, "Empty")
    assert.strictEqual(thrown(() => Graph.chain()).reason, "Empty")
    assert.strictEqual(thrown(() => loose({ "": step("a") })).reason, "Name")
  })

  scenario("a job that was given another job's headers is no node", () =>
    Effect.gen(function*() {
      const backend = yield* Backend
      const { events, ran } = yield* work((name) =>
        name === "a"
          ? Effect.flatMap(Job.Current, ({ headers }) =>
            Step.enqueue({ name: "copy" }).pipe(
              Enqueue.headers(headers),
              Enqueue.id("copy"),
              Effect.provideService(Backend, backend),
              Effect.orDie,
              Effect.andThen(Decide.dead())
            ))
          : Effect.void
      )
      const id = yield* Graph.enqueue(Graph.make({ a: step("a"), b: step("b", ["a"]) }))
      yield* events.until("Dead", { id: `${id}/a` })
      yield* events.until("Succeeded", { id: "copy" })
      const inspect = yield* Capability.Inspect
      assert.isTrue(Option.isNone(yield* inspect.get(`${id}/b`)), "the copy has not gone on in the place of a")
      assert.deepStrictEqual(yield* Queue.takeAll(ran), ["copy"])
    }))
})
