/** Workers that stand still for longer than their lease, or whose clock is wrong: alive, and mistaken about it. */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Child } from "../children.ts"
import { concurrency, durable, type Fault } from "../fault.ts"
import { options } from "../options.ts"
import { jobs } from "../world.ts"

class SettledAnyway extends Data.TaggedError("SettledAnyway")<{ readonly message: string }> {}

/** `answer ID SETTLEMENT ANSWER LIFE` */
const isLost = (line: string): boolean => line.split(" ")[3] === "Lost"

/** a worker is held in a handler until others have done all of its jobs; then it must be told that it lost them */
const frozen = (
  name: string,
  weight: number,
  hold: (child: Child) => Effect.Effect<Effect.Effect<void>, never, Scope.Scope>
): Fault => ({
  name,
  engines: durable,
  weight,
  why: "what it had begun and not settled: others began it again",
  run: Effect.fnUntraced(function*(world) {
    const { ledger } = world
    yield* world.publish(jobs(24))
    const sleeper = yield* world.child({
      worker: "sleeper",
      concurrency,
      stop: { point: "handler", nth: options.nth ?? world.chance.between(1, 12) }
    })
    yield* world.comes(sleeper.atPoint)
    const from = performance.now()
    const release = yield* hold(sleeper)
    const held = ledger.held("sleeper")
    const allowed = ledger.enteredOf(held)
    yield* world.survivor()
    yield* world.allDone(held)
    yield* world.drained
    const recovery = ledger.recovery(from, held)
    const heard = sleeper.lines.length
    yield* release
    for (const id of held) yield* sleeper.line(new RegExp(`^(?:answer|lost) ${id}\\b`))
    const answers = sleeper.lines.slice(heard).filter((line) => line.startsWith("answer "))
    const wrong = answers.filter((line) => !isLost(line))
    if (answers.length === 0 || wrong.length > 0) {
      return yield* new SettledAnyway({
        message: `its late settlements were answered: ${answers.join(", ") || "never"}`
      })
    }
    // those that were claimed and not begun may have been begun before it was told
    const begunLate = sleeper.lines.slice(heard).filter((line) => line.startsWith("run ")).length
    return { allowed: world.repeatedAtMost(allowed + begunLate), recovery }
  })
})

/** it is held as it is about to settle, until others have claimed its jobs and run them: only the fence tells who is who */
const overtaken: Fault = {
  name: "SIGSTOP past the lease, SIGCONT while others run its jobs",
  engines: durable,
  why: "what it had begun and not settled: others began it again",
  run: Effect.fnUntraced(function*(world) {
    const { ledger } = world
    yield* world.publish(jobs(24), { takes: 1_000 })
    const sleeper = yield* world.child({ worker: "sleeper", concurrency, stop: { point: "settle", nth: 1 } })
    const settling = yield* world.comes(sleeper.atPoint)
    const from = performance.now()
    yield* sleeper.signal("SIGSTOP")
    const held = ledger.held("sleeper")
    const allowed = ledger.enteredOf(held)
    yield* world.survivor()
    yield* world.heldBy("survivor", settling)
    const heard = sleeper.lines.length
    yield* sleeper.signal("SIGCONT")
    yield* sleeper.order("go")
    for (const id of settling) yield* sleeper.line(new RegExp(`^answer ${id} `))
    const answers = sleeper.lines.slice(heard).filter((line) => line.startsWith("answer "))
    const wrong = answers.filter((line) => settling.includes(line.split(" ")[1]!) && !isLost(line))
    if (answers.length === 0 || wrong.length > 0) {
      return yield* new SettledAnyway({
        message: `its late settlements were answered: ${answers.join(", ") || "never"}`
      })
    }
    yield* world.drained
    return { allowed: world.repeatedAtMost(allowed), recovery: ledger.recovery(from, held) }
  })
}

const jump = (name: string, millis: number): Fault => ({
  name,
  engines: durable,
  why: "none: leases are counted on the server's clock, SQLite's on the machine's steady one",
  run: Effect.fnUntraced(function*(world) {
    yield* world.publish(jobs(40), { takes: 10 })
    const jumper = yield* world.child({
      worker: "jumper",
      concurrency: 4,
      stop: { point: "handler", nth: options.nth ?? world.chance.between(1, 20) }
    })
    yield* world.comes(jumper.atPoint)
    yield* jumper.order(`jump ${millis}`)
    const from = performance.now()
    yield* world.survivor({ concurrency: 4 })
    const held = world.ledger.held("jumper")
    yield* world.publish(jobs(60), { takes: 10 })
    yield* world.drained
    return {
      allowed: 0,
      recovery: world.ledger.recovery(from, held)
    }
  })
})

const flag = Effect.map(
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "windlass-faults-flag-"))),
    (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
  ),
  (folder) => join(folder, "enough")
)

export const freezes: ReadonlyArray<Fault> = [
  frozen("SIGSTOP past the lease, then SIGCONT", 1, (child) =>
    Effect.as(
      child.signal("SIGSTOP"),
      Effect.andThen(child.signal("SIGCONT"), child.order("go"))
    )),
  overtaken,
  frozen("event loop blocked past the lease", 4, (child) =>
    Effect.gen(function*() {
      const file = yield* flag
      yield* child.order(`burn ${file}`)
      return Effect.sync(() => writeFileSync(file, ""))
    })),
  jump("a worker's clock jumps an hour ahead", 3_600_000),
  jump("a worker's clock jumps an hour back", -3_600_000)
]
