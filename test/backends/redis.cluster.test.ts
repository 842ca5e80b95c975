/** The Redis backend on a real cluster of three nodes: queues on all of them, workers and producers in between. */
import * as NodeRedis from "@effect/platform-node/NodeRedis"
import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import { Redis } from "effect/persistence/Redis"
import * as References from "effect/References"
import * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import { Backend } from "windlass/Backend"
import * as RedisBackend from "windlass/backends/RedisBackend"
import * as RedisCluster from "windlass/backends/RedisCluster"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { freePort, startRedis } from "../support/services.ts"

const quiet = Layer.succeed(References.MinimumLogLevel, "None" as const)
const sizes = [5461, 5461, 5462]

/** three primaries that share the slots, ended with the scope */
const nodes = Effect.gen(function*() {
  const started = yield* Effect.forEach(sizes, () =>
    Effect.gen(function*() {
      const bus = yield* Effect.promise(freePort)
      const node = yield* Effect.acquireRelease(
        Effect.promise(() => startRedis({ args: ["--cluster-enabled", "yes", "--cluster-port", String(bus)] })),
        ({ stop }) => Effect.promise(() => stop("SIGKILL"))
      )
      const context = yield* Layer.build(NodeRedis.layer({ url: node.url }).pipe(Layer.provide(quiet)))
      return { ...node, bus, admin: Context.get(context, Redis) }
    }))
  let from = 0
  for (const [i, { admin }] of started.entries()) {
    yield* admin.send("CLUSTER", "ADDSLOTSRANGE", String(from), String(from + sizes[i]! - 1))
    from += sizes[i]!
  }
  const [first, ...others] = started
  for (const { bus, port } of others) {
    yield* first!.admin.send("CLUSTER", "MEET", "127.0.0.1", String(port), String(bus))
  }
  const areReady = Effect.map(
    Effect.forEach(started, ({ admin }) => Effect.all([admin.send("CLUSTER", "INFO"), admin.send("CLUSTER", "SLOTS")])),
    (all) =>
      all.every(([info, slots]) =>
        String(info).includes("cluster_state:ok") && (slots as ReadonlyArray<unknown>).length === 3
      )
  )
  // the servers say it to nobody: they have to be asked
  while (!(yield* areReady)) yield* Effect.sleep(20)
  return started
})

class Ping extends Task.make("Ping", { payload: { n: Schema.Number }, success: Schema.Number }) {}

const queues = Array.from({ length: 9 }, (_, i) => `queue-${i}`)

describe("a redis cluster", () => {
  it.live(
    "queues on three nodes: jobs are enqueued, wake the worker, run, are waited for and inspected as on one (L12, L13)",
    () =>
      Effect.gen(function*() {
        const started = yield* nodes
        const cluster = () =>
          RedisBackend.layer({ pollInterval: "1 hour" }).pipe(
            Layer.provideMerge(RedisCluster.layer({ rootNodes: [{ url: started[1]!.url }] })),
            Layer.provide(quiet)
          )
        const ran: Array<number> = []
        const handler = Ping.toLayer(({ n }) => Effect.sync(() => (ran.push(n), n * 2)))
        // two processes' worth of connections: one works, the other one enqueues
        const working = Worker.layer(TaskGroup.make(Ping), { queues }).pipe(
          Layer.provide(handler),
          Layer.provide(cluster())
        )
        const worker = Context.get(yield* Layer.build(working), Worker.Worker)

        yield* Effect.gen(function*() {
          // one at a time on idle queues: each has to wake the worker, on the node of its queue
          for (const [n, queue] of queues.entries()) {
            assert.strictEqual(yield* Ping.execute({ n }).pipe(Enqueue.queue(queue)), n * 2)
          }
          // many at once
          const results = yield* Effect.forEach(
            Array.from({ length: 300 }, (_, i) => i + queues.length),
            (n) => Ping.execute({ n }).pipe(Enqueue.queue(queues[n % queues.length]!)),
            { concurrency: "unbounded" }
          )
          assert.deepStrictEqual(results, Array.from({ length: 300 }, (_, i) => (i + queues.length) * 2))
          assert.deepStrictEqual(ran.toSorted((a, b) => a - b), Array.from({ length: 309 }, (_, i) => i))

          const inspect = yield* Capability.Inspect
          assert.deepStrictEqual(yield* inspect.queues, queues)
          for (const queue of queues) {
            assert.deepStrictEqual(yield* inspect.counts(queue), { ready: 0, scheduled: 0, active: 0, dead: 0 })
          }
          const redis = yield* Redis
          const owners = new Set<number>()
          for (const queue of queues) {
            const slot = yield* redis.send<number>("CLUSTER", "KEYSLOT", `{windlass:${queue}}`)
            owners.add(Math.min(2, Math.floor(slot / sizes[0]!)))
          }
          assert.strictEqual(owners.size, 3, "the queues are on all nodes")
        }).pipe(Effect.provide(cluster()))
        assert.strictEqual((yield* worker.stop).succeeded, 309)
      }).pipe(Effect.scoped),
    60_000
  )

  it.live(
    "hints cross the nodes: work, aborts, seats of leaders; cursors and rerouted jobs stay on the node of their queue",
    () =>
      Effect.gen(function*() {
        const started = yield* nodes
        const cluster = () =>
          RedisBackend.layer({ pollInterval: "1 hour" }).pipe(
            Layer.provide(RedisCluster.layer({ rootNodes: started.map(({ url }) => ({ url })) })),
            Layer.provide(quiet)
          )
        const one = yield* Layer.build(cluster())
        const other = yield* Layer.build(cluster())
        const backend = Context.get(one, Backend)
        for (const queue of queues) {
          const subscription = yield* Context.get(other, Backend).subscribe(queue, { worker: "w" })
          yield* subscription.take(1)
          const envelope = {
            id: `${queue}-a`,
            task: "T",
            version: 1,
            payload: "{}",
            headers: {},
            origin: "user"
          } as const
          const woken = yield* Effect.forkChild(
            Effect.repeat(Effect.andThen(subscription.await(1), subscription.take(1)), {
              until: (taken) => taken.length > 0
            }),
            { startImmediately: true }
          )
          yield* backend.publish(queue, [{ envelope }])
          const [delivery] = yield* Fiber.join(woken)
          assert.strictEqual(delivery!.envelope.id, envelope.id)

          const aborted = yield* Effect.forkChild(Stream.runHead(subscription.aborts!), { startImmediately: true })
          // a hint is for who listens: it may have been sent before the other one does
          const asked = yield* Effect.forkChild(
            Effect.repeat(Effect.andThen(Context.get(one, Capability.Cancel).request(envelope.id), Effect.sleep(20)), {
              until: () => aborted.pollUnsafe() !== undefined
            })
          )
          assert.deepStrictEqual(yield* Fiber.join(aborted), Option.some(envelope.id))
          yield* Fiber.join(asked)
          const cursor = Context.get(one, Capability.Cursor)
          assert.strictEqual((yield* cursor.advance({ queue, name: "n", from: undefined, to: 1 }, []))._tag, "Advanced")
        }
        // a job may go anywhere within its queue; another one may be on another node
        const queue = queues[0]!
        const subscription = yield* backend.subscribe(queue, { worker: "v" })
        yield* backend.publish(queue, [{
          envelope: { id: "b", task: "T", version: 1, payload: "{}", headers: {}, origin: "user" }
        }])
        const [before] = yield* subscription.take(1)
        const reroute = Context.get(one, Capability.Reroute)
        const refused = yield* Effect.flip(reroute.prepare(queue, { queue: queues[1]! }))
        assert.match(refused.message, /from queue "queue-0" to "queue-1": their keys are on two nodes of the cluster/)
        const to = { queue, priority: 3, group: "g" }
        yield* reroute.prepare(queue, to)
        yield* subscription.settle([[
          before!.receipt,
          { _tag: "Retry", why: "failed", after: 0, attempt: "spent", place: "back", error: undefined, to }
        ]])
        const [after] = yield* subscription.take(1)
        assert.deepInclude(after, { attempt: 2, priority: 3, group: "g" })

        const holder = yield* Effect.forkChild(
          Effect.scoped(Effect.andThen(Context.get(one, Capability.Leader).hold("seat"), Effect.never)),
          { startImmediately: true }
        )
        const next = yield* Effect.forkChild(Effect.scoped(Context.get(other, Capability.Leader).hold("seat")))
        yield* Fiber.interrupt(holder)
        yield* Fiber.join(next)
      }).pipe(Effect.scoped),
    60_000
  )
})
