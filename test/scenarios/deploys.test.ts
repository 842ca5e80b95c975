/**
 * Rolling deploys (DESIGN section 6): two versions of an application, in two processes, on one queue. `deploys/v1.ts` and
 * `deploys/v2.ts` differ as versions do: a task that only the newer one has, a payload that changed, a task that was
 * renamed. Nothing is lost, nothing runs twice, nothing is dead.
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { join } from "node:path"
import { assert, describe, it } from "vitest"
import * as Capability from "windlass/Capability"
import { ifItAnswers } from "../support/answers.ts"
import { World } from "./deploys/world.ts"

const postgres = await ifItAnswers(() => import("../backends/postgres/server.ts"))
const redis = await ifItAnswers(() => import("../backends/redis/server.ts"))

const sqliteWorld = () =>
  new World((folder) => ({ engine: "sqlite", where: join(folder, "queue.db"), space: "" }), async () => {})

/** what was left on a server goes when this layer ends */
const cleaned = <E>(cleaner: Layer.Layer<never, E>) => Effect.runPromise(Effect.scoped(Layer.build(cleaner)))

const postgresWorld = ({ client, dropped, freshSchema, postgres: { url } }: NonNullable<typeof postgres>) => () =>
  new World(
    () => ({ engine: "postgres", where: url, space: freshSchema() }),
    async ({ space }) => void await cleaned(Layer.provide(dropped(space), client()))
  )

const redisWorld = ({ client, deleted, freshPrefix, redis: { url } }: NonNullable<typeof redis>) => () =>
  new World(
    () => ({ engine: "redis", where: url, space: freshPrefix() }),
    async ({ space }) => void await cleaned(Layer.provide(deleted(space), client()))
  )

const worlds: Readonly<Record<string, () => World>> = {
  sqlite: sqliteWorld,
  ...postgres === undefined ? {} : { postgres: postgresWorld(postgres) },
  ...redis === undefined ? {} : { redis: redisWorld(redis) }
}

/** every job ran exactly once and left nothing behind: not waiting, not running, not dead */
const eachOnce = async (world: World, ids: ReadonlyArray<string>) => {
  assert.strictEqual(new Set(ids).size, ids.length)
  assert.deepStrictEqual(world.effects().map(({ job }) => job).sort(), [...ids].sort())
  assert.deepStrictEqual(await world.counts(), { ready: 0, scheduled: 0, active: 0, dead: 0 })
}

const saying = (world: World, task: string) =>
  world.effects().filter(({ job }) => job.includes(`-${task}-`)).map(({ said, worker }) => `${worker}: ${said}`)

for (const [engine, make] of Object.entries(worlds)) {
  // dozens of processes are started: slow where the machine is busy
  describe(`rolling deploys on ${engine}`, { timeout: 180_000 }, () => {
    it("DEPLOY-01 what an older version stored before anybody worked runs in the newer one: payloads up-cast, old names known", async () => {
      await using world = make()
      const ids = await world.produce("old", "a", { Mail: 2, Report: 2, Notify: 2 })
      const worker = await world.worker("new")
      await world.ran(ids)
      assert.strictEqual(await worker.drained(), 0)
      await eachOnce(world, ids)
      assert.deepStrictEqual(world.effects().map(({ said }) => said), [
        "Mail to guest 0",
        "Mail to guest 1",
        "Alert (info): hello 0",
        "Alert (info): hello 1",
        "Report on Lovelace, Ada0",
        "Report on Lovelace, Ada1"
      ])
    })

    it("DEPLOY-02 workers first: both versions work on what older producers store, and the old one drains on SIGTERM", async () => {
      await using world = make()
      const old = await world.worker("old")
      const first = await world.produce("old", "a", { Mail: 10, Report: 10, Notify: 10 })
      await world.ran(first)
      // one handler of the old worker is in the middle of its work until after the signal
      const held = await world.produce("old", "held", { Report: 1 })
      await world.until(() => old.count("holds held") === 1, old)
      const younger = await world.worker("new")
      const second = await world.produce("old", "b", { Mail: 10, Report: 10, Notify: 10 })
      await world.ran(second)
      const drained = old.drained()
      await world.until(() => old.count("drains") > 0, old)
      const third = await world.produce("old", "c", { Mail: 10, Report: 10, Notify: 10 })
      await world.ran(third)
      assert.strictEqual(old.count("did held"), 0)
      old.order()
      assert.strictEqual(await drained, 0)
      const ids = [...first, ...second, ...third, ...held]
      await world.ran(ids)
      assert.strictEqual(await younger.drained(), 0)
      await eachOnce(world, ids)
      const by = (prefix: string) =>
        new Set(world.effects().filter(({ job }) => job.startsWith(`${prefix}-`)).map(({ worker }) => worker))
      assert.deepStrictEqual([by("a"), by("held"), by("c")], [new Set(["old"]), new Set(["old"]), new Set(["new"])])
    })

    it("DEPLOY-03 producers first: what only the newer version knows waits while an old worker works, and none of it dies", async () => {
      await using world = make()
      const old = await world.worker("old")
      const ids = await world.produce("new", "a", { Mail: 4, Report: 4, Alert: 4, Archive: 4 })
      const mails = ids.filter((id) => id.includes("-Mail-"))
      const others = ids.filter((id) => !mails.includes(id))
      await world.ran(mails)
      await world.until(() => others.every((id) => old.count(`released ${id}`) > 0), old)
      assert.strictEqual(world.effects().length, mails.length)
      const younger = await world.worker("new")
      assert.strictEqual(await old.drained(), 0)
      await world.ran(ids)
      assert.strictEqual(await younger.drained(), 0)
      await eachOnce(world, ids)
      assert.deepStrictEqual(
        new Set(world.effects().map(({ job, worker }) => `${job.split("-")[2]} ${worker}`)),
        new Set([
          "Mail old",
          "Report new",
          "Alert new",
          "Archive new"
        ])
      )
      for (const id of others) {
        const history = await world.history(id)
        assert.deepStrictEqual([history[0], history[1], history.at(-1)], [
          "enqueued",
          "unknown by old",
          "succeeded by new"
        ])
      }
      assert.deepStrictEqual(saying(world, "Alert")[0], "new: Alert (urgent): hello 0")
    })

    it("DEPLOY-04 side by side: producers and workers of both versions at once, then only the newer ones", async () => {
      await using world = make()
      const [old, younger] = await Promise.all([world.worker("old"), world.worker("new")])
      const ids = (await Promise.all([
        world.producer("old", "a", { Mail: 20, Report: 20, Notify: 20 }),
        world.producer("new", "a", { Mail: 20, Report: 20, Alert: 20, Archive: 20 })
      ])).flat()
      const drained = old.drained()
      const more = await world.produce("new", "b", { Mail: 20, Report: 20, Alert: 20, Archive: 20 })
      assert.strictEqual(await drained, 0)
      await world.ran([...ids, ...more])
      assert.strictEqual(await younger.drained(), 0)
      await eachOnce(world, [...ids, ...more])
      assert.deepStrictEqual(old.count("dead "), 0)
    })

    it("DEPLOY-05 rolled back: the older version takes over again, and what the newer one left waits until it returns", async () => {
      await using world = make()
      const younger = await world.worker("new")
      const first = await world.produce("new", "a", { Mail: 2, Archive: 2 })
      await world.ran(first)
      assert.strictEqual(await younger.drained(), 0)
      const left = await world.produce("new", "b", { Report: 2, Archive: 2 })
      const old = await world.worker("old")
      const second = await world.produce("old", "c", { Mail: 2, Report: 2, Notify: 2 })
      await world.ran(second)
      await world.until(() => left.every((id) => old.count(`released ${id}`) > 0), old)
      assert.strictEqual(await old.drained(), 0)
      const again = await world.worker("new")
      await world.ran(left)
      assert.strictEqual(await again.drained(), 0)
      await eachOnce(world, [...first, ...left, ...second])
    })

    it("DEPLOY-06 a task that nobody knows for as long as unknownFor is dead as that, and comes back with the version that knows it", async () => {
      await using world = make()
      const old = await world.worker("old", { unknownFor: 1_000 })
      const ids = await world.produce("new", "a", { Report: 1, Archive: 1 })
      for (const id of ids) world.expected.add(`dead ${id} unknown-task`)
      await world.until(() => Array.from(world.expected).every((line) => old.count(line) > 0), old)
      assert.strictEqual(await old.drained(), 0)
      assert.deepStrictEqual(await world.counts(), { ready: 0, scheduled: 0, active: 0, dead: 2 })
      assert.deepStrictEqual(world.effects(), [])
      const redriven = await world.ask(
        Effect.flatMap(Capability.DeadLetter, (dead) => dead.redrive("default", { reason: "unknown-task" }))
      )
      assert.strictEqual(redriven, 2)
      const younger = await world.worker("new")
      await world.ran(ids)
      assert.strictEqual(await younger.drained(), 0)
      await eachOnce(world, ids)
    })
  })
}
