/**
 * The plan: which calls are to go wrong, and how.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { Inputs, Operation } from "./calls.ts"

export type Fault =
  | { readonly _tag: "Fail"; readonly applied: boolean; readonly retryable: boolean; readonly message: string }
  | { readonly _tag: "Delay"; readonly duration: Duration.Input; readonly applied: boolean }
  | { readonly _tag: "Hang"; readonly applied: boolean; readonly released: Deferred.Deferred<void> }
  | { readonly _tag: "Duplicate"; readonly when: "same" | "next" }

export interface Rule {
  readonly operations: ReadonlySet<Operation>
  readonly where: ((input: any) => boolean) | undefined
  readonly fault: Fault
  readonly hit: Deferred.Deferred<void>
  /** calls that match and are let through first */
  skip: number
  /** calls that it still hits */
  times: number
}

export class Plan {
  private rules: ReadonlyArray<Rule> = []
  private readonly hangs = new Set<Deferred.Deferred<void>>()

  add(rule: Rule): void {
    this.rules = [...this.rules, rule]
    if (rule.fault._tag === "Hang") this.hangs.add(rule.fault.released)
  }

  remove(rule: Rule): void {
    this.rules = this.rules.filter((other) => other !== rule)
  }

  /** the faults of this call; counts it as one that has come */
  meet<O extends Operation>(operation: O, input: Inputs[O]): ReadonlyArray<Fault> {
    return this.hit(operation, input, ({ _tag }) => _tag !== "Duplicate")
  }

  /** the same for a claim that has something to hand out */
  meetDelivery<O extends Operation>(operation: O, input: Inputs[O]): ReadonlyArray<Fault> {
    return this.hit(operation, input, ({ _tag }) => _tag === "Duplicate")
  }

  private hit<O extends Operation>(
    operation: O,
    input: Inputs[O],
    isMeant: (fault: Fault) => boolean
  ): ReadonlyArray<Fault> {
    const hit: Array<Rule> = []
    for (const rule of this.rules) {
      if (!rule.operations.has(operation) || !isMeant(rule.fault) || rule.where?.(input) === false) continue
      if (rule.skip > 0) {
        rule.skip--
        continue
      }
      rule.times--
      hit.push(rule)
    }
    this.rules = this.rules.filter(({ times }) => times > 0)
    // last: who waits for it may go on at once, and plan the next
    for (const rule of hit) Deferred.doneUnsafe(rule.hit, Effect.void)
    return hit.map(({ fault }) => fault)
  }

  clear(): void {
    const hangs = Array.from(this.hangs)
    this.rules = []
    this.hangs.clear()
    for (const released of hangs) Deferred.doneUnsafe(released, Effect.void)
  }
}
