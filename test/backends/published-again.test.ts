/** What an engine says to an id that it has had before: the answer to a publish is lost, and it is sent again. */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import { Backend, type Item, type Published, type Settlement } from "windlass/Backend"
import { Inspect } from "windlass/Capability"
import { everywhere } from "../support/everywhere.ts"

const job = (options: Partial<Item> = {}): ReadonlyArray<Item> => [{
  envelope: { id: "a", task: "T", version: 1, payload: "{}", headers: {}, origin: "user" },
  ...options
}]

const ends: Readonly<Record<string, Settlement>> = {
  succeeded: { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined },
  discarded: { _tag: "Complete", how: "discarded", exit: undefined, reason: "not needed" },
  aborted: { _tag: "Complete", how: "aborted", exit: undefined, reason: "asked to" },
  dead: { _tag: "Dead", reason: "failed", error: "it failed", exit: undefined }
}

const stored: Published = { _tag: "Stored" }
const duplicate: Published = { _tag: "Duplicate", existing: "a" }

for (const kept of [true, false]) {
  const whether = kept ? "kept" : "forgotten"
  for (const [how, settlement] of Object.entries(ends)) {
    const after = how === "dead" ? "stays refused as a dead letter" : "is free afterwards"
    everywhere(
      `an id is refused while its job waits or runs, and ${after} (${how}, successes ${whether})`,
      () =>
        Effect.gen(function*() {
          const backend = yield* Backend
          const subscription = yield* backend.subscribe("again", { worker: "w" })
          const publish = backend.publish("again", job())
          assert.deepStrictEqual(yield* publish, [stored])
          assert.deepStrictEqual(yield* publish, [duplicate])
          const [delivery] = yield* subscription.take(1)
          assert.deepStrictEqual(yield* publish, [duplicate])
          assert.deepStrictEqual(yield* subscription.settle([[delivery!.receipt, settlement]]), ["Settled"])
          assert.deepStrictEqual(yield* publish, [how === "dead" ? duplicate : stored])
          assert.strictEqual((yield* subscription.take(2)).length, how === "dead" ? 0 : 1)
        }),
      { kept }
    )
  }

  everywhere(
    `an id with a unique key that is kept for a time is refused after its end too, ${whether}`,
    () =>
      Effect.gen(function*() {
        const backend = yield* Backend
        const subscription = yield* backend.subscribe("again", { worker: "w" })
        const publish = backend.publish("again", job({ unique: { key: "k", until: { millis: 3_600_000 } } }))
        assert.deepStrictEqual(yield* publish, [stored])
        const [delivery] = yield* subscription.take(1)
        assert.deepStrictEqual(yield* subscription.settle([[delivery!.receipt, ends["succeeded"]!]]), ["Settled"])
        assert.deepStrictEqual(yield* publish, [duplicate])
        assert.deepStrictEqual(yield* subscription.take(1), [])
        // what was refused has changed nothing
        const first = yield* (yield* Inspect).get("a")
        assert.deepStrictEqual(Option.map(first, ({ state }) => state), kept ? Option.some("succeeded") : Option.none())
        // another one with the key is told who holds it, and the first one, whose id it has, is left as it is
        const second = [...job({ unique: { key: "k", until: { millis: 3_600_000 } } })].map((one) => ({
          ...one,
          envelope: { ...one.envelope, id: "b" }
        }))
        assert.deepStrictEqual(yield* backend.publish("again", second), [duplicate])
      }),
    { kept }
  )
}
