/** A worker's health as a probe sees it. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import { BackgroundTasks, Health, TestClient } from "windlass/http"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

/** a worker that is as well as it is told to be */
const posing = (health: () => Worker.Health) =>
  Layer.succeed(
    Worker.Worker,
    Worker.Worker.of({
      id: "posing",
      stop: Effect.never,
      interrupt: Effect.never,
      await: Effect.never,
      health: Effect.sync(health),
      events: Stream.never
    })
  )

const client = (paths?: Health.Paths) =>
  TestClient.layerInProcess(Health.layer(paths).pipe(Layer.provideMerge(BackgroundTasks.layer())))

const well: Worker.Health = { live: true, ready: true, stopping: false, running: 0, queues: [] }

describe("health", () => {
  it.live("is two routes: 200 or 503 by what the worker says now, as JSON that nobody keeps", () => {
    let health = well
    return Effect.gen(function*() {
      const client = yield* TestClient.TestClient
      const statuses = Effect.all([client.get("/health/live"), client.get("/health/ready")]).pipe(
        Effect.map((responses) => responses.map(({ status }) => status))
      )
      assert.deepStrictEqual(yield* statuses, [200, 200])
      health = { ...well, ready: false, stopping: true, running: 3 }
      assert.deepStrictEqual(yield* statuses, [200, 503])
      health = { ...well, live: false, ready: false }
      assert.deepStrictEqual(yield* statuses, [503, 503])
      const response = yield* client.get("/health/live")
      assert.strictEqual(response.headers["cache-control"], "no-store")
      assert.deepStrictEqual(yield* response.json, { ...health })
      assert.strictEqual((yield* client.head("/health/live")).status, 503)
    }).pipe(Effect.provide(Layer.provide(client(), posing(() => health))))
  })

  it.live("may live on other paths", () =>
    Effect.gen(function*() {
      const client = yield* TestClient.TestClient
      assert.strictEqual((yield* client.get("/livez")).status, 200)
      assert.strictEqual((yield* client.get("/readyz")).status, 200)
      assert.strictEqual((yield* client.get("/health/live")).status, 404)
    }).pipe(Effect.provide(Layer.provide(client({ live: "/livez", ready: "/readyz" }), posing(() => well)))))

  it.live("of a worker that runs is well, and beside it the app has routes of its own", () => {
    class Work extends Task.make("Work") {}
    const worker = Worker.layer(TaskGroup.make(Work)).pipe(
      Layer.provide(Work.toLayer(() => Effect.void)),
      Layer.provide(MemoryBackend.layer)
    )
    const app = Layer.merge(Health.layer(), HttpRouter.add("GET", "/", HttpServerResponse.text("home"))).pipe(
      Layer.provideMerge(BackgroundTasks.layer())
    )
    return Effect.gen(function*() {
      const client = yield* TestClient.TestClient
      assert.strictEqual((yield* client.get("/health/ready")).status, 200)
      assert.strictEqual(yield* (yield* client.get("/")).text, "home")
    }).pipe(Effect.provide(Layer.provide(TestClient.layerInProcess(app), worker)))
  })
})
