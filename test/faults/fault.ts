/** One fault of the suite: where it can be had, what it does, and what it may cost. */
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Engine } from "./options.ts"
import type { Services } from "./places.ts"
import type { World } from "./world.ts"

export interface Found {
  /** how many entries into a handler may be repeated */
  readonly allowed: number
  /** how many jobs were published again after their end; when absent, as many as publishes of an unknown outcome explain */
  readonly again?: number | undefined
  /**
   * milliseconds from the fault until what it had hit was done; undefined when it hits nothing that would have to recover.
   * Told and not asserted: it is a matter of the machine as soon as other tests want the processors too. What never
   * recovers ends as lost.
   */
  readonly recovery: number | undefined
}

export interface Fault {
  readonly name: string
  readonly engines: ReadonlyArray<Engine>
  /** the server is stopped, or what others do on it is disturbed */
  readonly rough?: boolean | undefined
  /** how much of the machine it takes, of 8; 1 unless set */
  readonly weight?: number | undefined
  /** milliseconds; the suite's unless set */
  readonly lease?: number | undefined
  /** which jobs may run twice, and why; for the table */
  readonly why: string
  readonly run: (world: World) => Effect.Effect<Found, unknown, Services | Scope.Scope>
}

export const durable: ReadonlyArray<Engine> = ["sqlite", "postgres", "redis"]
export const networked: ReadonlyArray<Engine> = ["postgres", "redis"]

/** jobs that a worker of the suite runs at once */
export const concurrency = 8
