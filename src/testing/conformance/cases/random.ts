/**
 * Random runs against a model.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { fail, Harness, make, show } from "../harness.ts"
import { type Command, generate } from "../model/commands.ts"
import { play } from "../model/play.ts"
import { prng } from "../model/random.ts"
import { shrink } from "../model/shrink.ts"
import { leaseMillis, stage } from "../stage.ts"

/** how many runs of a shorter sequence a failure may cost */
const shrinking = 400

const runs = Effect.fnUntraced(function*(length: number, timed: boolean, limited = false) {
  const { facts, fresh, scale, seed } = yield* Harness
  const s = yield* stage
  const lease = leaseMillis(yield* s.subscribe("w"))
  let started = 0
  const one = Effect.fnUntraced(function*(commands: ReadonlyArray<Command>) {
    const from = yield* Clock.currentTimeMillis
    // without a hand on the clock a run must end before its leases do
    const goOn = timed ? Effect.succeed(true) : Effect.map(Clock.currentTimeMillis, (now) => now - from < lease / 2)
    return yield* play(`${fresh}-${++started}`, commands, goOn)
  })
  const count = Math.max(10, Math.floor(150 / scale))
  for (let n = 0; n < count; n++) {
    const commands = generate(prng(seed + n), facts, timed ? lease : 0, length, limited)
    const outcome = yield* one(commands)
    if (outcome === undefined) continue
    const shortest = yield* shrink(
      commands.slice(0, outcome.at + 1),
      (shorter) => Effect.map(one(shorter), (outcome) => outcome?.at),
      shrinking
    )
    const last = (yield* one(shortest)) ?? outcome
    return yield* fail(
      `run with seed ${seed + n}: ${last.problem}, after these ${shortest.length} commands:\n` +
        shortest.map((command) => `  ${show(command)}`).join("\n")
    )
  }
})

export const random = [
  make(
    "random/timed",
    ["L16", "L13", "PROC-40", "PROC-41", "PROC-43"],
    "random runs with time, leases and all options agree with the model",
    [
      "StrictFence",
      "TimedLease",
      "ExactTime",
      "ExactAttempts"
    ],
    function*() {
      yield* runs(60, true)
    }
  ),

  make("random/untimed", ["L16", "L13"], "random runs in which no time passes agree with the model", [
    "StrictFence",
    "ExactAttempts"
  ], function*() {
    yield* runs(40, false)
  }),

  make(
    "random/limited-timed",
    ["PROC-40", "PROC-41"],
    "random runs with time, leases and groups with limits agree with the model",
    ["StrictFence", "TimedLease", "ExactTime", "ExactAttempts", "Groups", "GroupLimit"],
    function*() {
      yield* runs(60, true, true)
    }
  ),

  make(
    "random/limited-untimed",
    ["PROC-40"],
    "random runs in which no time passes, with groups with limits, agree with the model",
    ["StrictFence", "ExactAttempts", "Groups", "GroupLimit"],
    function*() {
      yield* runs(40, false, true)
    }
  )
]
