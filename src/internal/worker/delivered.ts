/** What a hand-out came to, and what the backend is told of it. */
import type { Settlement } from "../../Backend.ts"
import type { Outcome } from "../../Outcome.ts"

/** @internal */
export class Delivered {
  readonly outcome: Outcome
  readonly settlement: Settlement

  constructor(outcome: Outcome, settlement: Settlement) {
    this.outcome = outcome
    this.settlement = settlement
  }
}
