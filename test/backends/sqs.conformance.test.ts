/**
 * The conformance kit on SQS, standard and FIFO, against a server in process. SQS counts in whole seconds, so the kit waits,
 * with leases of three.
 */
import { afterAll, assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as SqsBackend from "windlass/backends/SqsBackend"
import * as Conformance from "../../src/testing/Conformance.ts"
import { at, start } from "./sqs/server.ts"

const server = await start()
afterAll(() => server.stop())

const settings = { lease: "3 seconds", callTimeout: "5 seconds" } as const

const lacking = [
  "StrictFence",
  "Priority",
  "Unique",
  "Unique.started",
  "Unique.finished",
  "Unique.window",
  "AtomicBatch",
  "ExactAttempts",
  "Transactional",
  "Results",
  "Inspect",
  "Cancel",
  "Pause",
  "Leader",
  "Cursor",
  "DeadLetter",
  "Reroute",
  "GroupLimit"
] as const satisfies ReadonlyArray<Conformance.Need>

const timing = { clock: "live", unit: 300, slack: 1_300, scale: 4 } as const

describe.concurrent("standard", () => {
  const { apply, doNotApply } = Conformance.suite({
    name: "sqs",
    layer: Layer.suspend(() => SqsBackend.layer(at(server, settings))),
    lacks: [...lacking, "Groups"],
    ...timing
  }, it.live)

  it("what does not apply needs what a standard queue lacks", () => {
    const lacks = new Set<Conformance.Need>([...lacking, "Groups", "ExactTime"])
    assert.isTrue(doNotApply.every(({ needs }) => needs.some((need) => lacks.has(need))))
    assert.isAtLeast(apply.length, 33)
  })
})

describe.concurrent("FIFO", () => {
  const { apply, doNotApply } = Conformance.suite({
    name: "sqs-fifo",
    layer: Layer.suspend(() => SqsBackend.layerFifo(at(server, settings))),
    lacks: [...lacking, "Delay"],
    ...timing
  }, it.live)

  it("what does not apply needs what a FIFO queue lacks", () => {
    const lacks = new Set<Conformance.Need>([...lacking, "Delay", "ExactTime"])
    assert.isTrue(doNotApply.every(({ needs }) => needs.some((need) => lacks.has(need))))
    assert.isAtLeast(apply.length, 36)
  })

  it.live("the layer makes no call until a queue is used", () =>
    Effect.scoped(Layer.build(SqsBackend.layerFifo({ endpoint: "http://127.0.0.1:1", region: "us-east-1" }))))
})
