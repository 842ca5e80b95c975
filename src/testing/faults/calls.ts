/**
 * The record of calls: what was asked of a backend, in order, and what it answered.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { BackendError, Delivery, Held, Item, Published, Receipt, Settled, Settlement } from "../../Backend.ts"

/** what each operation is asked */
export interface Inputs {
  readonly declare: { readonly queue: string }
  readonly publish: { readonly queue: string; readonly items: ReadonlyArray<Item>; readonly atomic: boolean }
  readonly subscribe: { readonly queue: string; readonly worker: string }
  readonly take: { readonly queue: string; readonly worker: string; readonly max: number }
  readonly settle: {
    readonly queue: string
    readonly worker: string
    readonly items: ReadonlyArray<readonly [Receipt, Settlement]>
  }
  readonly exchange: {
    readonly queue: string
    readonly worker: string
    readonly items: ReadonlyArray<readonly [Receipt, Settlement]>
    readonly max: number
  }
  readonly extend: { readonly queue: string; readonly worker: string; readonly receipts: ReadonlyArray<Receipt> }
  readonly await: { readonly queue: string; readonly worker: string; readonly max: number }
  readonly ping: Record<never, never>
}

/** what each operation answers; a subscription itself is not kept */
export interface Answers {
  readonly declare: void
  readonly publish: ReadonlyArray<Published>
  readonly subscribe: unknown
  readonly take: ReadonlyArray<Delivery>
  readonly settle: ReadonlyArray<Settled>
  readonly exchange: readonly [ReadonlyArray<Settled>, ReadonlyArray<Delivery>]
  readonly extend: ReadonlyArray<Held>
  readonly await: void
  readonly ping: void
}

export type Operation = keyof Inputs

export type End<A> =
  | { readonly _tag: "Answered"; readonly answer: A }
  | { readonly _tag: "Failed"; readonly error: BackendError }
  | { readonly _tag: "Interrupted" }

/** mutable here, read-only outside */
export type Recorded = {
  [O in Operation]: {
    readonly operation: O
    readonly index: number
    readonly at: number
    readonly input: Inputs[O]
    engine: { readonly answer: Answers[O] } | undefined
    end: End<Answers[O]> | undefined
  }
}[Operation]

interface Waiter {
  readonly operation: Operation
  readonly count: number
  readonly reached: Deferred.Deferred<void>
}

export class Calls {
  private calls: Array<Recorded> = []
  private readonly counts = new Map<Operation, number>()
  private waiters: Array<Waiter> = []
  private index = 0

  begin<O extends Operation>(operation: O, input: Inputs[O], at: number): Recorded {
    const call = { operation, index: this.index++, at, input, engine: undefined, end: undefined } as Recorded
    this.calls.push(call)
    const count = (this.counts.get(operation) ?? 0) + 1
    this.counts.set(operation, count)
    const reached = this.waiters.filter((waiter) => waiter.operation === operation && waiter.count <= count)
    this.waiters = this.waiters.filter((waiter) => !reached.includes(waiter))
    // last: who waits for it may go on at once
    for (const waiter of reached) Deferred.doneUnsafe(waiter.reached, Effect.void)
    return call
  }

  count(operation: Operation): number {
    return this.counts.get(operation) ?? 0
  }

  list(): ReadonlyArray<Recorded> {
    return this.calls.slice()
  }

  forget(): void {
    this.calls = []
    this.counts.clear()
  }

  /** waits until so many calls of the operation have begun */
  reached(operation: Operation, count: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.count(operation) >= count) return Effect.void
      const waiter: Waiter = { operation, count, reached: Deferred.makeUnsafe<void>() }
      this.waiters.push(waiter)
      return Effect.ensuring(
        Deferred.await(waiter.reached),
        Effect.sync(() => {
          this.waiters = this.waiters.filter((other) => other !== waiter)
        })
      )
    })
  }
}
