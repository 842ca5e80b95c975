/** Whose time a sample is. */
import { assert, describe, it } from "vitest"
import { type Frame, partOf, parts, type Profile, sorted } from "../../bench/profile/parts.ts"
import { profileSections } from "../../bench/profile/report.ts"

const at = (url: string, functionName = "f"): Frame => ({ functionName, url })
const installed = "file:///app/node_modules"

describe("bench:profile", () => {
  it.each<readonly [frame: Frame, part: string]>([
    [at(`${installed}/effect/dist/internal/effect.js`), "Effect: fibers, steps, exits"],
    [at(`${installed}/effect/dist/Context.js`), "Effect: contexts"],
    [at(`${installed}/effect/dist/SchemaParser.js`), "Effect: decoding and encoding by the schema"],
    [at(`${installed}/effect/dist/schema/SchemaJITCompiler.js`), "Effect: decoding and encoding by the schema"],
    [at("", ""), "Effect: decoding and encoding by the schema"],
    [at(`${installed}/effect/dist/Queue.js`), "Effect: the rest"],
    [at(`${installed}/@effect/sql-pg/dist/PgConnection.js`), "the engine's client"],
    [at(`${installed}/@redis/client/dist/lib/client/index.js`), "the engine's client"],
    [at("file:///app/src/internal/worker/layer.ts"), "Windlass: layers, hooks, observers"],
    [at("file:///app/src/internal/lean.ts"), "Windlass: layers, hooks, observers"],
    [at("file:///app/src/middleware/Timing.ts"), "Windlass: layers, hooks, observers"],
    [at("file:///app/src/internal/worker/deliver.ts"), "Windlass: the worker"],
    [at("file:///app/src/backends/postgres/exchange.ts"), "Windlass: the backend"],
    [at("file:///app/src/internal/producer.ts"), "Windlass: the producer"],
    [at("file:///app/bench/windlass.ts"), "the bench, its handler"],
    [at("node:net"), "Node: sockets, streams, timers"],
    [at("", "writeUtf8String"), "Node: sockets, streams, timers"],
    [at("", "parse"), "JSON, codecs"],
    [at("file:///app/src/internal/codecs.ts"), "JSON, codecs"],
    [at("", "(garbage collector)"), "garbage collection"],
    [at("", "(program)"), "outside of JavaScript"],
    [at("", "(idle)"), "idle"]
  ])("%o is %s", (frame, part) => assert.strictEqual(partOf(frame), part))

  it("a sample lasts until the next one, and idle time is in no sum", () => {
    const profile: Profile = {
      nodes: [
        { id: 1, callFrame: at("", "parse") },
        { id: 2, callFrame: at("", "(idle)") }
      ],
      samples: [1, 2, 1, 1],
      timeDeltas: [99, 10, 200, 30]
    }
    const { byFunction, byPart } = sorted(profile)
    assert.deepStrictEqual([...byPart], [["JSON, codecs", 40], ["idle", 200]])
    assert.strictEqual(byFunction[0]![1], 200)
    assert.notInclude(parts, "idle")
    const section = profileSections({
      node: "v24",
      cells: [{ title: "one", jobs: 1, server: 3, micros: Object.fromEntries(byPart) }]
    })["profiles"]!
    assert.include(section, "| JSON, codecs | 40 |")
    assert.include(section, "| **the process, all of it** | 40 |")
    assert.include(section, "| it waits | 200 |")
    assert.include(section, "| **the server's processes** | 3.0 |")
  })

  it("says what to run before it was", () => assert.include(profileSections(undefined)["profiles"], "bench:profile"))
})
