/** Several calls under way for one queue (`src/internal/worker/beside.ts`), where batches are smaller than the free slots. */
import { assert, describe, it } from "@effect/vitest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as TestClock from "effect/testing/TestClock"
import { Backend, BackendError, type Subscription } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import { Inspect } from "windlass/Capability"
import type * as Gate from "windlass/Gate"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class A extends Task.make("A", { payload: { n: Schema.Number } }) {}
class B extends Task.make("B", { payload: { n: Schema.Number }, queue: "b" }) {}
const App = TaskGroup.make(A)
const many = (count: number) => Array.from({ length: count }, (_, n) => ({ n }))

/** numbers below so many, the same for the same seed */
const generator = (seed: number) => (count: number): number => {
  seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff
  return (seed >>> 8) % count
}

/** turns of the scheduler, as an answer over a network takes its time */
const turns = (count: number) => Effect.forEach(Array.from({ length: count }), () => Effect.yieldNow, { discard: true })

/** What was seen of the calls of one subscription. */
class Calls {
  underWay = 0
  most = 0
  /** claims that were made while another call was under way */
  beside = 0
  made = 0

  /** `exchanges`: what the engine says; `call` is what happens on the way to it */
  far(exchanges: number | undefined, call: (n: number) => Effect.Effect<void, BackendError> = () => turns(20)) {
    const over = <A>(claims: boolean, effect: Effect.Effect<A, BackendError>): Effect.Effect<A, BackendError> =>
      Effect.suspend(() => {
        if (claims && this.underWay > 0) this.beside++
        this.most = Math.max(this.most, ++this.underWay)
        return Effect.ensuring(Effect.andThen(call(this.made++), effect), Effect.sync(() => void this.underWay--))
      })
    const watch = (subscription: Subscription): Subscription => ({
      ...subscription,
      exchanges,
      take: (max) => over(true, subscription.take(max)),
      settle: (items) => over(false, subscription.settle(items)),
      exchange: (items, max) => over(true, subscription.exchange(items, max))
    })
    return Layer.effect(
      Backend,
      Effect.map(Backend, (backend) => ({
        ...backend,
        subscribe: (queue: string, options: Parameters<typeof backend.subscribe>[1]) =>
          Effect.map(backend.subscribe(queue, options), watch)
      }))
    )
  }
}

const worker = (
  backend: Layer.Layer<Backend, never, Backend>,
  handler: (n: number) => Effect.Effect<void, never, Job.Current>,
  options: Partial<Worker.Options> = {}
) =>
  Worker.launch(
    Worker.layer(App, { mode: "drain", concurrency: 10, ...options as object }).pipe(
      Layer.provide(A.toLayer(({ n }) => handler(n))),
      Layer.provide(backend)
    )
  )

const single = { limits: { takeBatch: 1, settleBatch: 1 } }
const on = (options: Parameters<typeof MemoryBackend.layerWith>[0]) => <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.provide(effect, MemoryBackend.layerWith(options))

/** so many jobs in each state */
const left = Effect.flatMap(
  Inspect,
  (inspect) => Effect.map(inspect.counts("default"), ({ active, ready }) => ({ active, ready }))
)

describe("calls beside each other", () => {
  it.effect("a job per round trip: as many calls are under way as the engine says, every job runs once", () =>
    on(single)(Effect.gen(function*() {
      const calls = new Calls()
      const ran: Array<number> = []
      yield* A.enqueueMany(many(50))
      const report = yield* worker(calls.far(3), (n) => Effect.sync(() => void ran.push(n)))
      assert.deepStrictEqual([report.succeeded, report.claimed, report.released, report.lost], [50, 50, 0, 0])
      assert.deepStrictEqual(ran.toSorted((a, b) => a - b), many(50).map(({ n }) => n))
      assert.strictEqual(calls.most, 3)
      // nearly all of them: what is not is the ramp and the end
      assert.isAtLeast(calls.beside, 45)
      // one call settles a job and claims another
      assert.isAtMost(calls.made, 60)
    })))

  it.effect("small batches of any size: none is larger than the engine takes", () =>
    on({ limits: { takeBatch: 10, settleBatch: 10 } })(Effect.gen(function*() {
      const calls = new Calls()
      yield* A.enqueueMany(many(200))
      const report = yield* worker(calls.far(4), () => Effect.void, { concurrency: 40 })
      assert.strictEqual(report.succeeded, 200)
      assert.strictEqual(calls.most, 4)
      assert.isAtMost(calls.made, 30)
    })))

  it.effect("an engine that says nothing has one call at a time", () =>
    on(single)(Effect.gen(function*() {
      const calls = new Calls()
      yield* A.enqueueMany(many(20))
      const report = yield* worker(calls.far(undefined), () => Effect.void)
      assert.deepStrictEqual([report.succeeded, calls.most], [20, 1])
    })))

  it.effect("batches that carry all free slots go one at a time", () =>
    on({})(Effect.gen(function*() {
      const calls = new Calls()
      yield* A.enqueueMany(many(100))
      const report = yield* worker(calls.far(3), () => turns(1), { claimAhead: false })
      assert.deepStrictEqual([report.succeeded, calls.most], [100, 1])
    })))

  for (const concurrency of [1, 2, 3, 5]) {
    it.effect(`no more than ${concurrency} jobs run or are on their way, with more calls than that to be had`, () =>
      on(single)(Effect.gen(function*() {
        const calls = new Calls()
        const inspect = yield* Inspect
        let running = 0
        let most = 0
        yield* A.enqueueMany(many(30))
        const report = yield* worker(calls.far(8), () =>
          Effect.gen(function*() {
            most = Math.max(most, ++running)
            const { active } = yield* Effect.orDie(inspect.counts("default"))
            assert.isAtMost(active, concurrency)
            yield* turns(15)
            running--
          }), { concurrency })
        assert.strictEqual(report.succeeded, 30)
        assert.strictEqual(most, concurrency)
        assert.strictEqual(report.released, 0)
      })))
  }

  it.effect("queues share the slots of the worker, and none starves", () =>
    on(single)(Effect.gen(function*() {
      const order: Array<string> = []
      let running = 0
      const handler = (name: string) => () =>
        Effect.gen(function*() {
          assert.isAtMost(++running, 4)
          order.push(name)
          yield* turns(5)
          running--
        })
      yield* A.enqueueMany(many(60))
      yield* B.enqueueMany(many(6))
      const report = yield* Worker.launch(
        Worker.layer(TaskGroup.make(A, B), { mode: "drain", concurrency: 4 }).pipe(
          Layer.provide(Layer.mergeAll(A.toLayer(handler("a")), B.toLayer(handler("b")))),
          Layer.provide(new Calls().far(3))
        )
      )
      assert.strictEqual(report.succeeded, 66)
      assert.isBelow(order.lastIndexOf("b"), 40)
    })))

  it.effect("L10: permits are taken before each claim, and all come back", () =>
    on(single)(Effect.gen(function*() {
      const calls = new Calls()
      let out = 0
      let most = 0
      const gate: Gate.Gate = {
        name: "five",
        acquire: (max) =>
          Effect.sync(() => {
            const granted = Math.min(max, 5 - out)
            out += granted
            most = Math.max(most, out)
            return granted
          }).pipe(Effect.flatMap((granted) => granted === 0 ? Effect.never : Effect.succeed(granted))),
        release: (count) => Effect.sync(() => void (out -= count))
      }
      yield* A.enqueueMany(many(40))
      const report = yield* worker(calls.far(3), () => turns(3), { gates: [gate] })
      assert.deepStrictEqual([report.succeeded, out], [40, 0])
      assert.isAtMost(most, 5)
      assert.strictEqual(calls.most, 3)
    })))

  it.effect("PROC: a stop waits for every call under way; what they bring goes back and costs no attempt", () =>
    on(single)(Effect.gen(function*() {
      const calls = new Calls()
      const ran: Array<number> = []
      yield* A.enqueueMany(many(40))
      const report = yield* worker(calls.far(3), (n) =>
        Effect.suspend(() => {
          ran.push(n)
          return n === 9 ? Effect.flatMap(Job.Current, (job) => job.worker.stop) : Effect.void
        }))
      assert.strictEqual(calls.underWay, 0)
      assert.strictEqual(report.succeeded, ran.length)
      assert.isAtLeast(report.released, 1)
      assert.strictEqual(report.claimed, ran.length + report.released)
      assert.deepStrictEqual(yield* left, { active: 0, ready: 40 - ran.length })
      const rest = yield* worker(
        new Calls().far(3),
        () => Effect.map(Job.Current, (job) => assert.strictEqual(job.attempt, 1))
      )
      assert.strictEqual(rest.succeeded, 40 - ran.length)
    })))

  it.effect("L9: the answer of one call is lost: its settlement is said again, the others go on, each job ends once", () =>
    on(single)(Effect.gen(function*() {
      const calls = new Calls()
      const ran: Array<number> = []
      const unknown = new BackendError({
        backend: "memory",
        operation: "exchange",
        message: "the answer was lost",
        retryable: true,
        outcome: "Unknown"
      })
      yield* A.enqueueMany(many(30))
      const live = yield* Effect.forkChild(worker(
        calls.far(3, (n) => Effect.andThen(turns(20), n === 11 ? Effect.fail(unknown) : Effect.void)),
        (n) => Effect.sync(() => void ran.push(n))
      ))
      // what is said again waits a little
      while (live.pollUnsafe() === undefined) yield* Effect.andThen(turns(100), TestClock.adjust("100 millis"))
      const report = yield* Fiber.join(live)
      assert.deepStrictEqual([report.succeeded, report.lost], [30, 0])
      assert.deepStrictEqual(ran.toSorted((a, b) => a - b), many(30).map(({ n }) => n))
    })))

  it.effect("drain mode: a job that one call brings while another finds nothing is waited for", () =>
    on(single)(Effect.gen(function*() {
      const calls = new Calls()
      // the second call is the last to answer
      const backend = calls.far(3, (n) => n === 1 ? turns(200) : turns(5))
      yield* A.enqueueMany(many(3))
      const ran: Array<number> = []
      const report = yield* worker(backend, (n) => Effect.sync(() => void ran.push(n)))
      assert.strictEqual(report.succeeded, 3)
      assert.deepStrictEqual(ran.toSorted((a, b) => a - b), [0, 1, 2])
      assert.deepStrictEqual(yield* left, { active: 0, ready: 0 })
    })))

  it.effect("PROC: jobs that end one after the other do not put off the claim of one that comes", () =>
    on({ limits: { takeBatch: 2, settleBatch: 2 } })(Effect.gen(function*() {
      const last = yield* Deferred.make<number>()
      const count = { started: 0, over: 0 }
      const handler = (n: number) =>
        Effect.gen(function*() {
          count.started++
          if (n === 1_000) return yield* Effect.asVoid(Deferred.succeed(last, count.over))
          yield* turns(n < 100 ? 3_500 + 5 * n : 10_000)
          count.over++
        })
      // answers take longer than it is from one end to the next, so that settlements could follow each other without a gap
      const backend = new Calls().far(3, () => turns(40))
      yield* A.enqueueMany(many(100))
      const fiber = yield* Effect.forkChild(worker(backend, handler, { mode: "forever", concurrency: 200 }))
      while (count.over < 5) yield* turns(1)
      // some full batches, so that calls go beside each other, and then one that is not
      yield* A.enqueueMany(many(107).slice(100))
      while (count.started < 107) yield* turns(1)
      const before = count.over
      yield* turns(40)
      yield* A.enqueue({ n: 1_000 })
      assert.isBelow(yield* Deferred.await(last), before + 40)
      yield* Fiber.interrupt(fiber)
    })))

  for (const times of [1, Infinity]) {
    it.effect(`L10: a gate that dies ${times === 1 ? "once" : "again and again"} keeps nothing from being settled`, () =>
      on({ limits: { takeBatch: 2, settleBatch: 2 } })(Effect.gen(function*() {
        let deaths = 0
        const gate: Gate.Gate = {
          name: "dies",
          acquire: (max) => Effect.succeed(max),
          release: (_, started) => !started && deaths++ < times ? Effect.die("release") : Effect.void
        }
        yield* A.enqueueMany(many(7))
        const report = yield* worker(new Calls().far(4), () => turns(200), { gates: [gate] })
        assert.isDefined(report.failure)
        assert.strictEqual(report.claimed, report.succeeded + report.released)
        assert.deepStrictEqual(yield* left, { active: 0, ready: 7 - report.succeeded })
      })))
  }

  // both found more jobs running than the worker has slots: one that ended at once woke the other queue, which took the slot
  // of a job that was on its way; or what was claimed ahead did
  for (const seed of [617, 1_004]) {
    it.effect(`L10: two queues share the slots of the worker, of whatever length their jobs are (${seed})`, () => {
      const below = generator(seed)
      const batch = 1 + below(3)
      const queues = { default: 1 + below(3), b: 2 + below(6) }
      const concurrency = 2 + below(6)
      const slow = 3 + below(40)
      return on({ limits: { takeBatch: batch, settleBatch: batch } })(Effect.gen(function*() {
        const running = { a: 0, b: 0 }
        const run = (name: "a" | "b", length: number) =>
          Effect.gen(function*() {
            running[name]++
            assert.isAtMost(running.a, queues.default)
            assert.isAtMost(running.b, queues.b)
            assert.isAtMost(running.a + running.b, concurrency)
            if (length > 0) yield* turns(length)
            running[name]--
          })
        yield* A.enqueueMany(many(120))
        yield* B.enqueueMany(many(60))
        const report = yield* Worker.launch(
          Worker.layer(TaskGroup.make(A, B), { mode: "drain", concurrency, queues }).pipe(
            Layer.provide(Layer.mergeAll(
              A.toLayer(() => Effect.suspend(() => run("a", below(slow) === 0 ? 1 + below(150) : 0))),
              B.toLayer(() => Effect.suspend(() => run("b", below(3) === 0 ? 0 : below(90))))
            )),
            Layer.provide(new Calls().far(1 + below(4), () => Effect.suspend(() => turns(1 + below(40)))))
          )
        )
        assert.strictEqual(report.succeeded, 180)
      }))
    })
  }

  it.effect("an idle worker has no call under way, and a job that comes is picked up", () =>
    on(single)(Effect.gen(function*() {
      const calls = new Calls()
      const done = yield* Deferred.make<void>()
      let count = 0
      const fiber = yield* Effect.forkChild(
        worker(
          calls.far(3),
          () => Effect.suspend(() => ++count === 12 ? Effect.asVoid(Deferred.succeed(done, undefined)) : Effect.void),
          {
            mode: "forever"
          }
        )
      )
      yield* A.enqueueMany(many(6))
      yield* turns(1_000)
      assert.deepStrictEqual([count, calls.underWay], [6, 0])
      const made = calls.made
      yield* turns(1_000)
      assert.strictEqual(calls.made, made)
      yield* A.enqueueMany(many(6))
      yield* Deferred.await(done)
      yield* Fiber.interrupt(fiber)
    })))
})
