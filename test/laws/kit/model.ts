/**
 * The oracle: what a case must come to, found without running it: its hand-outs one after another, each from the claim
 * through the delivery point and the chain to its settlement.
 */
import { Chain } from "./chain.ts"
import { type Ending, type Outcome, outcomeOf } from "./decide.ts"
import * as E from "./exits.ts"
import type { Handed, Prediction } from "./prediction.ts"
import type { Case } from "./spec.ts"
import { root, Unfit } from "./timeline.ts"

export const predict = (spec: Case): Prediction | undefined => {
  try {
    return new Model(spec).run()
  } catch (error) {
    if (error instanceof Unfit) return undefined
    throw error
  }
}

class Model extends Chain {
  run(): Prediction {
    const handed: Array<Handed> = []
    let attempt = 1
    while (true) {
      if (++this.delivery > 7) throw new Unfit()
      this.time = 0
      this.timers.clear()
      this.stopping = undefined
      this.cut = false
      this.interrupted = false
      this.stolen = false
      this.recorded = undefined
      const before = this.bodies
      this.trace.push(`claim ${attempt}`)
      const outcome = this.deliver(attempt)
      const bodies = this.bodies - before
      if (this.lostAlready()) {
        handed.push({ settlement: "", outcome: outcome.settlement, answer: undefined, bodies })
        this.trace.push("lost")
        continue
      }
      this.trace.push(`settle ${outcome.settlement}`)
      if (this.stolen) {
        handed.push({ settlement: outcome.settlement, outcome: outcome.outcome, answer: "Lost", bodies })
        this.trace.push("lost")
        continue
      }
      const answer = this.abortRequested && outcome.settlement.startsWith("Retry") ? "Aborted" : "Settled"
      handed.push({ settlement: outcome.settlement, outcome: outcome.outcome, answer, bodies })
      if (answer === "Aborted") return this.over(handed, "Aborted")
      if (outcome.result !== undefined) return this.over(handed, outcome.result)
      if (outcome.spent) attempt++
    }
  }

  over(handed: ReadonlyArray<Handed>, result: string): Prediction {
    if (handed.at(-1)!.outcome === "Succeeded") this.kinds.add("success")
    return { trace: this.trace, handed, result, kinds: this.kinds }
  }

  lostAlready(): boolean {
    return this.stopping === "lost"
  }

  // ------------------------------------------------------------------------------------------------- the delivery point

  deliver(attempt: number): Outcome {
    const { observers } = this.spec
    for (let i = 0; i < observers; i++) this.trace.push(`o>${i}`)
    let dead: string | undefined
    const around = (i: number, payload: string): Ending => {
      const spec = this.spec.arounds[i]
      if (spec === undefined) return { exit: this.layer(0, payload, root), cut: this.cut }
      const faults = this.delivery <= spec.until
      let held: number | undefined
      const close = () => {
        if (held !== undefined) this.trace.push(`d rel ${i} #${held}`)
      }
      this.step(`d>${i}`, root)
      if (spec.resource) {
        held = ++this.serial
        this.trace.push(`d acq ${i} #${held}`)
      }
      if (faults && spec.dies === "before") {
        close()
        dead = `d${i}`
        return { exit: E.died(dead), cut: this.cut }
      }
      const inner = around(i + 1, spec.rewrites ? `${payload}.d${i}` : payload)
      if (dead === undefined) {
        this.trace.push(`d<${i}:${outcomeOf(this.spec, inner, this.facts(attempt)).settlement}`)
        if (faults && spec.dies === "after") dead = `d${i}`
      }
      close()
      return inner
    }
    const ending = around(0, "p")
    const outcome = dead === undefined
      ? outcomeOf(this.spec, ending, this.facts(attempt))
      // a dying delivery middleware is a failed attempt of the job
      : outcomeOf(this.spec, { exit: E.died(dead), cut: false }, { ...this.facts(attempt), stopping: undefined })
    for (let i = observers - 1; i >= 0; i--) this.trace.push(`o<${i}:${outcome.outcome}`)
    return outcome
  }

  facts(attempt: number) {
    return { attempt, stopping: this.stopping, recorded: this.recorded }
  }
}
