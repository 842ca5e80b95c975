/**
 * The laws that hold for every stack: each looks at the same random cases (a stack of middleware, an exit, one thing from
 * outside) with its own eyes. What is compared is a projection of the trace against the model, or the law said again
 * about the trace alone; mostly both.
 */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import type { Layers } from "./kit/backends.ts"
import { law as named, type Tally } from "./kit/law.ts"
import { deliveries, layerOf, makeObserver, same, type Seen, serialOf } from "./kit/observe.ts"
import { type Kind, kinds } from "./kit/prediction.ts"
import type { Services } from "./kit/run.ts"

const struck = ["abort", "shutdown", "lost lease"] as const

export const stacks = (where: string, backend: () => Layers): void => {
  const { everyCase } = makeObserver()
  const law = (name: string, holds: (seen: Seen) => void, only: ReadonlyArray<Kind> = kinds) =>
    named<Services>(
      name,
      only,
      where,
      (tally: Tally) => everyCase(tally, holds, only),
      (effect) => Effect.provide(effect, backend())
    )

  law(
    "L1 balance: what was acquired is released once, before the settlement; an after runs once per before",
    (seen) => {
      for (const [n, part] of deliveries(seen.observed.trace).entries()) {
        const open = new Set<number>()
        const done = new Set<number>()
        for (const event of part) {
          if (/^(d )?acq /.test(event)) open.add(serialOf(event))
          if (/^(d )?rel /.test(event)) {
            assert.isTrue(open.delete(serialOf(event)), `${event}: not held`)
            assert.isFalse(done.has(serialOf(event)), `${event}: again`)
            done.add(serialOf(event))
          }
          if (event.startsWith("settle") || event === "lost") assert.strictEqual(open.size, 0, `held at: ${event}`)
        }
        assert.strictEqual(open.size, 0, "held at the end")
        assert.strictEqual(done.size, count(deliveries(seen.predicted.trace)[n]!, /^(d )?acq /), "resources")
        for (const [i, mid] of seen.spec.mids.entries()) {
          if (mid.after === undefined) continue
          assert.strictEqual(
            count(part, new RegExp(`^aft ${i}:`)),
            count(part, new RegExp(`^bef ${i}$`)),
            `afters of ${i}`
          )
        }
      }
    }
  )

  law("L2 LIFO: releases come in the exact reverse of the acquires, within a scope and among scopes", (seen) => {
    const held: Array<number> = []
    for (const event of seen.observed.trace) {
      if (/^(d )?acq /.test(event)) held.push(serialOf(event))
      if (/^(d )?rel /.test(event)) assert.strictEqual(serialOf(event), held.pop(), event)
    }
  })

  law("L3 the outer sees all: every exit on its way out, and the typed failure at its end", (seen) => {
    const views = /^(aft \d|rel |catch |h< |d<|o<)/
    const { observed, predicted } = seen
    same(words(observed.trace, views), words(predicted.trace, views))
    assert.strictEqual(observed.result, predicted.result)
  })

  law("L5 order: worker, group, task, own wraps, handler, and back", (seen) => {
    const { observed, predicted } = seen
    assert.deepStrictEqual(observed.described, observed.names)
    for (const part of deliveries(observed.trace)) nested(part)
    const points = /^(o[<>]|d[<>]|>|bef|aft|h[<>.]|again|limit|catch)/
    same(words(observed.trace, points), words(predicted.trace, points))
    // payload and result pass the own wraps in order
    if (predicted.result.startsWith("ok ")) assert.strictEqual(observed.result, predicted.result)
  })

  law("L8 lexical: every attempt starts anew, and the stored payload stays what it was", (seen) => {
    const { observed, predicted, spec } = seen
    const uses = spec.mids.map(() => 0)
    for (const event of observed.trace) {
      if (event.startsWith(">")) uses[layerOf(event)!] = 0
      const used = /^svc (\d+):(\d+)$/.exec(event)
      if (used !== null) assert.strictEqual(Number(used[2]), ++uses[Number(used[1])]!, event)
    }
    const stored = JSON.stringify({ value: "p" })
    for (const delivery of observed.taken) assert.strictEqual(delivery.envelope.payload, stored)
    assert.strictEqual(observed.record.envelope.payload, stored)
    same(words(observed.trace, /^svc/), words(predicted.trace, /^svc/))
  })

  law("L13 total: one settlement per hand-out, the one of its outcome; a cut run is never a success", (seen) => {
    const { observed, predicted } = seen
    assert.strictEqual(observed.taken.length, predicted.handed.length, "hand-outs")
    const parts = deliveries(observed.trace)
    predicted.handed.forEach((handed, n) => {
      const mine = observed.submitted.filter((s) => s.delivery === n + 1)
      assert.deepStrictEqual(mine.map((s) => s.answer), handed.answer === undefined ? [] : [handed.answer])
      const submitted = parts[n]!.filter((e) => e.startsWith("settle ")).map((e) => e.slice(7))
      assert.deepStrictEqual(submitted, handed.settlement === "" ? [] : [handed.settlement])
    })
    const { struckAt, trace } = observed
    const { what } = seen.spec.stimulus
    if (struckAt !== undefined && what !== "lost" && seen.predicted.trace.length >= struckAt) {
      const after = deliveries(trace)[0]!.join("\n").slice(trace.slice(0, struckAt).join("\n").length)
      // its body ended as interrupted after the request, and no time limit did that
      const cut = /\nh< \d+:I\n/.test(after) && !/timeout|limit/.test(parts[0]!.join("\n"))
      if (cut) assert.notInclude(parts[0]!, "settle Complete succeeded")
    }
    const total = (of: (report: (typeof observed.reports)[number]) => number) =>
      observed.reports.reduce((sum, report) => sum + of(report), 0)
    assert.strictEqual(total((r) => r.claimed), observed.taken.length, "claimed")
    assert.strictEqual(
      total((r) =>
        r.succeeded + r.discarded + r.retried + r.snoozed + r.dead + r.aborted + r.interrupted + r.released + r.lost
      ),
      observed.taken.length,
      "counted"
    )
    assert.strictEqual(total((r) => r.succeeded), predicted.result.startsWith("ok ") ? 1 : 0, "successes")
    assert.strictEqual(total((r) => r.stuck), 0)
  })

  law("L14 typed short-circuit: unrun and over only by a Decide or by the task's own wrap", (seen) => {
    for (const part of deliveries(seen.observed.trace)) {
      if (part.some((event) => event.startsWith("h> "))) continue
      const entered = seen.spec.mids.filter((_, i) => part.includes(`>${i}`))
      if (part.includes("settle Complete succeeded")) {
        const own = entered.filter((mid) => mid.place === "own" && ["short", "catch"].includes(mid.mode._tag))
        assert.isAbove(own.length, 0, "a success without a run")
      }
      if (part.includes("settle Complete discarded")) {
        const decides = entered.filter((mid) =>
          mid.mode._tag === "short" ||
          [mid.before.fault, mid.after?.fault, ...mid.resources.map((r) => r.fault)].includes("discard")
        )
        assert.isAbove(decides.length, 0, "a discard without a Decide")
      }
    }
    const ends = /^settle/
    same(words(seen.observed.trace, ends), words(seen.predicted.trace, ends))
  })

  law("L15 structured: forked work has ended before anything outside of the handler goes on", (seen) => {
    let open = 0
    for (const event of seen.observed.trace) {
      if (event.startsWith("fork ")) open++
      if (/^(child|job) /.test(event)) open--
      if (/^(aft|settle|lost|again|d<|o<)/.test(event) || /^rel \d/.test(event)) assert.strictEqual(open, 0, event)
    }
    const forks = /^(fork|child|job)/
    same(words(seen.observed.trace, forks), words(seen.predicted.trace, forks))
  })

  law("L16 fenced: who lost the job settles nothing, and its handler is interrupted", (seen) => {
    const { observed, predicted } = seen
    predicted.handed.forEach((handed, n) => {
      if (handed.answer !== undefined && handed.answer !== "Lost") return
      const answers = observed.submitted.filter((s) => s.delivery === n + 1).map((s) => s.answer)
      assert.notInclude(answers, "Settled")
      assert.isTrue(deliveries(observed.trace)[n]!.includes("lost"))
    })
    const lost = predicted.handed.filter((h) => h.answer === undefined || h.answer === "Lost").length
    assert.strictEqual(observed.reports.reduce((sum, r) => sum + r.lost, 0), lost)
    assert.strictEqual(observed.events.filter((e) => e._tag === "Lost").length, lost)
    // exactly what the later owner did is what became of the job
    const last = observed.submitted.at(-1)!
    assert.strictEqual(last.delivery, observed.taken.length)
    assert.strictEqual(observed.record.state, stateOf(last.answer, last.settlement))
    same(observed.trace, predicted.trace)
  }, ["lost lease"])

  law("L17 interruption lands in the handler: befores, acquires, afters and releases run to their end", (seen) => {
    const { observed, predicted, spec } = seen
    // a body that is waiting hears it, nothing else does: to the event what the model says
    same(observed.trace, predicted.trace)
    if (spec.mids.some((mid) => mid.mode._tag === "limit")) return
    for (const [i, mid] of spec.mids.entries()) {
      const safe = mid.before.fault === undefined && mid.before.gives !== true &&
        mid.resources.every((r) => r.fault === undefined)
      if (safe) {
        assert.strictEqual(
          count(observed.trace, new RegExp(`^bef ${i}$`)),
          count(observed.trace, new RegExp(`^>${i}$`))
        )
      }
      if (mid.after !== undefined && mid.after.fault === undefined) {
        assert.strictEqual(
          count(observed.trace, new RegExp(`^aft\\. ${i}$`)),
          count(observed.trace, new RegExp(`^aft ${i}:`))
        )
      }
    }
  }, struck)
}

const count = (trace: ReadonlyArray<string>, event: RegExp): number => trace.filter((e) => event.test(e)).length

/** the events of a kind without what they saw, so that an error names the first that is out of order */
const words = (trace: ReadonlyArray<string>, event: RegExp): ReadonlyArray<string> => trace.filter((e) => event.test(e))

/** middleware i+1 is entered from within i, and i goes on when i+1 has ended */
const nested = (part: ReadonlyArray<string>): void => {
  const open: Array<number> = []
  for (const event of part) {
    const i = layerOf(event)
    if (i === undefined) continue
    while (open.length > 0 && open.at(-1)! > i) open.pop()
    if (event.startsWith(">")) {
      if (open.at(-1) === i) open.pop()
      assert.strictEqual(open.at(-1) ?? -1, i - 1, `${event} within`)
      open.push(i)
    } else {
      assert.strictEqual(open.at(-1), i, `${event} of a middleware that is not open`)
    }
  }
}

const stateOf = (
  answer: string,
  settlement: { readonly _tag: string; readonly how?: string }
): string => answer === "Aborted" ? "aborted" : settlement._tag === "Dead" ? "dead" : settlement.how!
