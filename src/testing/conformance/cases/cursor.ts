/**
 * Named times that move together with a publish.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { Cursor } from "../../../Capability.ts"
import { ends, equal, Harness, holds, make, refused } from "../harness.ts"
import { names, stage } from "../stage.ts"

export const cursor = [
  make("cursor/moves", ["PROC-44"], "it moves from where it stands, with its jobs; from elsewhere nothing happens", [
    "Cursor"
  ], function*() {
    const cursor = yield* Cursor
    const s = yield* stage
    const subscription = yield* s.subscribe("w")
    const at = { queue: s.queue, name: "daily" }
    const noon = 1_800_000_000_000
    yield* equal(yield* cursor.get(s.queue, "daily"), undefined, "before it was set")
    yield* equal(
      yield* cursor.advance({ ...at, from: 1, to: 2 }, [s.item("never")]),
      { _tag: "Stale", at: undefined },
      "from a time at which it never stood"
    )
    yield* equal(
      yield* cursor.advance({ ...at, from: undefined, to: noon }, [s.item("a"), s.item("b")]),
      { _tag: "Advanced", published: [{ _tag: "Stored" }, { _tag: "Stored" }] },
      "the first move"
    )
    yield* equal(yield* cursor.get(s.queue, "daily"), noon, "after the first move")
    for (const from of [undefined, noon - 1, noon + 1]) {
      yield* equal(
        yield* cursor.advance({ ...at, from, to: noon + 5 }, [s.item("never")]),
        { _tag: "Stale", at: noon },
        `from ${from} while it stands at ${noon}`
      )
    }
    yield* equal(
      yield* cursor.advance({ ...at, from: noon, to: noon + 5 }, []),
      { _tag: "Advanced", published: [] },
      "a move without jobs"
    )
    yield* equal(yield* cursor.get(s.queue, "daily"), noon + 5, "after the second move")
    yield* equal(names(s, yield* subscription.take(10)), ["a", "b"], "what was stored")
  }),

  make("cursor/names", [], "names and queues are apart from each other", ["Cursor"], function*() {
    const cursor = yield* Cursor
    const s = yield* stage
    yield* cursor.advance({ queue: s.queue, name: "a", from: undefined, to: 1 }, [])
    yield* cursor.advance({ queue: s.other("q"), name: "a", from: undefined, to: 2 }, [])
    yield* equal(yield* cursor.get(s.queue, "a"), 1, "one queue")
    yield* equal(yield* cursor.get(s.other("q"), "a"), 2, "another queue")
    yield* equal(yield* cursor.get(s.queue, "b"), undefined, "another name")
  }),

  make("cursor/forget", [], "one that is forgotten was never set; the others stand", ["Cursor"], function*() {
    const cursor = yield* Cursor
    const s = yield* stage
    for (const name of ["a", "b", "c"]) {
      yield* cursor.advance({ queue: s.queue, name, from: undefined, to: 1 }, [])
    }
    yield* cursor.advance({ queue: s.other("q"), name: "a", from: undefined, to: 1 }, [])
    yield* cursor.forget(s.queue, ["a", "b", "never"])
    yield* cursor.forget(s.other("unheard of"), ["a"])
    yield* equal(yield* cursor.get(s.queue, "a"), undefined, "the first")
    yield* equal(yield* cursor.get(s.queue, "b"), undefined, "the second")
    yield* equal(yield* cursor.get(s.queue, "c"), 1, "one that was not named")
    yield* equal(yield* cursor.get(s.other("q"), "a"), 1, "its namesake of another queue")
    yield* equal(
      yield* cursor.advance({ queue: s.queue, name: "a", from: undefined, to: 7 }, []),
      { _tag: "Advanced", published: [] },
      "set anew"
    )
  }),

  make("cursor/duplicate", [], "a duplicate is answered as one, and the cursor moves all the same", [
    "Cursor",
    "Unique.finished"
  ], function*() {
    const cursor = yield* Cursor
    const s = yield* stage
    const unique = { key: "k", until: "finished" } as const
    yield* s.publish(["a", { unique }])
    const answer = yield* cursor.advance({ queue: s.queue, name: "c", from: undefined, to: 1 }, [
      s.item("b", { unique }),
      s.item("a"),
      s.item("c")
    ])
    const duplicate = { _tag: "Duplicate", existing: s.id("a") } as const
    yield* equal(answer, { _tag: "Advanced", published: [duplicate, duplicate, { _tag: "Stored" }] }, "the answer")
    yield* equal(yield* cursor.get(s.queue, "c"), 1, "the cursor")
  }),

  make("cursor/refused", [], "what the engine refuses is not stored, and the cursor stays", ["Cursor"], function*() {
    const cursor = yield* Cursor
    const s = yield* stage
    const { limits } = s.backend
    yield* cursor.advance({ queue: s.queue, name: "c", from: undefined, to: 1 }, [])
    const tooLarge = s.item("large", { payload: "x".repeat(limits.payloadBytes + 1) })
    yield* refused(
      cursor.advance({ queue: s.queue, name: "c", from: 1, to: 2 }, [s.item("small"), tooLarge]),
      "an item that is too large"
    )
    yield* equal(yield* cursor.get(s.queue, "c"), 1, "the cursor")
    yield* equal(yield* (yield* s.subscribe("w")).take(10), [], "what was stored")
  }),

  make(
    "cursor/crowd",
    ["PROC-44"],
    "of many who move it from one time at once, one does, and its jobs alone are stored",
    [
      "Cursor"
    ],
    function*() {
      const { scale } = yield* Harness
      const cursor = yield* Cursor
      const s = yield* stage
      const crowd = Math.max(4, Math.floor(20 / scale))
      let from: number | undefined
      for (let round = 1; round <= 3; round++) {
        const fiber = yield* Effect.forkChild(Effect.forEach(
          Array.from({ length: crowd }, (_, i) => i),
          (i) => cursor.advance({ queue: s.queue, name: "c", from, to: round }, [s.item(`${round}-${i}`)]),
          { concurrency: "unbounded" }
        ))
        const answers = yield* ends(fiber, "the crowd")
        yield* equal(answers.filter(({ _tag }) => _tag === "Advanced").length, 1, `who moved it in round ${round}`)
        yield* holds(
          answers.every((answer) => answer._tag === "Advanced" || answer.at === round),
          `the others see where it stands in round ${round}`
        )
        from = round
      }
      const subscription = yield* s.subscribe("w")
      yield* equal((yield* subscription.take(10)).length, 3, "jobs stored")
    }
  )
]
