/**
 * Single enqueues that come while others are on their way to the server travel together in the next call. Nobody waits
 * for company: a call that finds a free flight starts at once, so an idle producer pays nothing, and a busy one pays a
 * round trip for many jobs instead of one each.
 *
 * @since 0.1.0
 */
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { Item } from "../../Backend.ts"

export interface Options<in I, out A, E> {
  /** one answer per item, in order. What it is given together it stores or refuses item by item */
  readonly run: (key: string, items: ReadonlyArray<I>) => Effect.Effect<ReadonlyArray<A>, E>
  /** what a call carries at most, in the unit of `sizeOf`; what is larger alone goes alone */
  readonly most: number
  /** 1 for every item unless set */
  readonly sizeOf?: ((item: I) => number) | undefined
  /** calls under way at once */
  readonly flights: number
  /** whether nothing of a failed call took effect and the reason may be one item alone: then each caller tries for itself */
  readonly isOnes: (error: E) => boolean
}

interface Waiting<I, A, E> {
  readonly items: ReadonlyArray<I>
  readonly size: number
  readonly answers: Deferred.Deferred<ReadonlyArray<A>, E>
}

export class Coalesce<I, A, E> {
  private readonly options: Options<I, A, E>
  private flying = 0
  /** by key, in the order of their coming */
  private readonly waiting = new Map<string, Array<Waiting<I, A, E>>>()

  constructor(options: Options<I, A, E>) {
    this.options = options
  }

  /** stores what has the same key in as few calls as possible; whoever is interrupted waits for the answer all the same */
  submit(key: string, items: ReadonlyArray<I>): Effect.Effect<ReadonlyArray<A>, E> {
    return Effect.uninterruptible(Effect.suspend(() => {
      const { flights, most, run, sizeOf } = this.options
      const size = sizeOf === undefined ? items.length : items.reduce((sum, item) => sum + sizeOf(item), 0)
      // what fills a call by itself gains nothing from others
      if (size >= most) return run(key, items)
      if (this.flying < flights) {
        this.flying++
        return Effect.ensuring(run(key, items), this.landed)
      }
      const waiting = { items, size, answers: Deferred.makeUnsafe<ReadonlyArray<A>, E>() }
      const line = this.waiting.get(key)
      if (line === undefined) this.waiting.set(key, [waiting])
      else line.push(waiting)
      return Deferred.await(waiting.answers)
    }))
  }

  private readonly landed: Effect.Effect<void> = Effect.suspend(() => {
    this.flying--
    return this.next()
  })

  /** the fiber that forks is at its end, and its flight belongs to others: it is not theirs to wait for */
  private next(): Effect.Effect<void> {
    for (const [key, line] of this.waiting) {
      const together = this.board(line)
      if (line.length === 0) this.waiting.delete(key)
      // who waits for other keys is not passed over for ever: this key goes behind them
      else {
        this.waiting.delete(key)
        this.waiting.set(key, line)
      }
      this.flying++
      return Effect.asVoid(
        Effect.forkDetach(Effect.ensuring(this.fly(key, together), this.landed), { startImmediately: true })
      )
    }
    return Effect.void
  }

  private board(line: Array<Waiting<I, A, E>>): ReadonlyArray<Waiting<I, A, E>> {
    let total = 0
    const end = line.findIndex(({ size }) => (total += size) > this.options.most)
    return line.splice(0, end === -1 ? line.length : end)
  }

  private fly(key: string, together: ReadonlyArray<Waiting<I, A, E>>): Effect.Effect<void> {
    const { isOnes, run } = this.options
    const all = together.flatMap(({ items }) => items)
    return Effect.matchCauseEffect(run(key, all), {
      onSuccess: (answers) =>
        Effect.sync(() => {
          let at = 0
          for (const { answers: deferred, items } of together) {
            Deferred.doneUnsafe(deferred, Effect.succeed(answers.slice(at, at += items.length)))
          }
        }),
      onFailure: (cause) => {
        const fail = cause.reasons.find((reason) => reason._tag === "Fail")
        return together.length > 1 && fail !== undefined && isOnes(fail.error)
          ? Effect.forEach(together, (one) => this.fly(key, [one]), { discard: true })
          : Effect.sync(() => {
            for (const { answers } of together) Deferred.doneUnsafe(answers, Effect.failCause(cause))
          })
      }
    })
  }
}

/** for jobs: one each, and one more for every KiB of payload, so that a thousand small ones weigh as much as a large one */
export const sizeOfJob = ({ envelope }: Item): number => 1 + (envelope.payload.length >>> 10)
