/**
 * Single enqueues that come while others are on their way to the server travel together in the next call. Nobody waits
 * for company: a call that finds a free flight starts at once, so an idle producer pays nothing, and a busy one pays a
 * round trip for many jobs instead of one each.
 *
 * Flights share what there is. Callers who are answered together come back together: if the first flight to land took all
 * of them, it would fly full for ever beside one that carries the one who came too late, which costs the server as much.
 *
 * Nor do they fly in step where a client gathers what it writes. When two are answered at once, the callers of the first come
 * back and leave, and the second is not heard before they are written, which takes a turn: so the server works on one while
 * the callers of the other are served. Left to themselves both would leave and be answered together for ever, and each side
 * wait for the other.
 *
 * @since 0.1.0
 */
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
  /** whether the client writes at the end of a turn of the event loop what it was given in it; no unless set */
  readonly gathers?: boolean | undefined
  /** whether nothing of a failed call took effect and the reason may be one item alone: then each caller tries for itself */
  readonly isOnes: (error: E) => boolean
}

/** what is not divided among flights: to save a call is worth more */
const worthwhile = 16

/** a class, because there is one for every enqueue: see `internal/item.ts` */
class Waiting<I, A, E> {
  readonly items: ReadonlyArray<I>
  readonly size: number
  readonly answer: (answers: Effect.Effect<ReadonlyArray<A>, E>) => void

  constructor(items: ReadonlyArray<I>, size: number, answer: Waiting<I, A, E>["answer"]) {
    this.items = items
    this.size = size
    this.answer = answer
  }
}

export class Coalesce<I, A, E> {
  private readonly options: Options<I, A, E>
  private flying = 0
  /** the size of all that flies and waits */
  private total = 0
  /** calls that were just made, and that the client may not have written yet */
  private leaving = 0
  /** answers that are not heard before those are written */
  private readonly unheard: Array<() => void> = []
  /** by key, in the order of their coming */
  private readonly waiting = new Map<string, Array<Waiting<I, A, E>>>()

  constructor(options: Options<I, A, E>) {
    this.options = options
  }

  /** stores what has the same key in as few calls as possible; whoever is interrupted waits for the answer all the same */
  submit(key: string, items: ReadonlyArray<I>): Effect.Effect<ReadonlyArray<A>, E> {
    return Effect.uninterruptible(Effect.suspend(() => {
      const { flights, most, run, sizeOf } = this.options
      let size = items.length
      if (sizeOf !== undefined) {
        size = 0
        for (const item of items) size += sizeOf(item)
      }
      // what fills a call by itself gains nothing from others
      if (size >= most) return run(key, items)
      this.total += size
      if (this.flying < flights) {
        this.flying++
        return Effect.ensuring(Effect.suspend(() => run(key, items)), this.landed(size))
      }
      return Effect.callback<ReadonlyArray<A>, E>((answer) => {
        const one = new Waiting(items, size, answer)
        const line = this.waiting.get(key)
        if (line === undefined) this.waiting.set(key, [one])
        else line.push(one)
      })
    }))
  }

  private landed(size: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.flying--
      this.total -= size
      return this.next()
    })
  }

  /** the fiber that forks is at its end, and its flight belongs to others: it is not theirs to wait for */
  private next(): Effect.Effect<void> {
    for (const [key, line] of this.waiting) {
      const { size, together } = this.board(line)
      if (line.length === 0) this.waiting.delete(key)
      // who waits for other keys is not passed over for ever: this key goes behind them
      else {
        this.waiting.delete(key)
        this.waiting.set(key, line)
      }
      this.flying++
      const flight = Effect.ensuring(this.fly(key, together), this.landed(size))
      return Effect.map(Effect.forkDetach(flight, { startImmediately: true }), () => {
        // after the client was given it, so that it has asked for its turn first
        if (this.options.gathers === true) this.leave()
      })
    }
    return Effect.void
  }

  /** what the client was asked to write is written by then; nobody waits for longer, whoever leaves meanwhile */
  private leave(): void {
    this.leaving++
    setImmediate(() => {
      this.leaving--
      for (const hear of this.unheard.splice(0)) hear()
    })
  }

  /** until everything that left is written */
  private readonly turn: Effect.Effect<void> = Effect.callback((resume) => {
    if (this.leaving === 0) resume(Effect.void)
    else this.unheard.push(() => resume(Effect.void))
  })

  /** takes those who fly next off the line: the first of them whatever its size */
  private board(line: Array<Waiting<I, A, E>>) {
    const { flights, most } = this.options
    const share = Math.min(most, Math.max(worthwhile, Math.ceil(this.total / flights)))
    let size = line[0]!.size
    let end = 1
    while (end < line.length && size + line[end]!.size <= share) size += line[end++]!.size
    return { size, together: line.splice(0, end) }
  }

  private fly(key: string, together: ReadonlyArray<Waiting<I, A, E>>): Effect.Effect<void> {
    const { isOnes, run } = this.options
    const all = together.flatMap(({ items }) => items)
    const over = Effect.exit(Effect.tap(Effect.suspend(() => run(key, all)), () => this.turn))
    return Effect.flatMap(over, (exit) => {
      if (exit._tag === "Success") {
        let at = 0
        for (const { answer, items } of together) answer(Effect.succeed(exit.value.slice(at, at += items.length)))
        return Effect.void
      }
      const { cause } = exit
      const fail = cause.reasons.find((reason) => reason._tag === "Fail")
      if (together.length > 1 && fail !== undefined && isOnes(fail.error)) {
        return Effect.forEach(together, (one) => this.fly(key, [one]), { discard: true })
      }
      for (const { answer } of together) answer(Effect.failCause(cause))
      return Effect.void
    })
  }
}

/** for jobs: one each, and one more for every KiB of payload, so that a thousand small ones weigh as much as a large one */
export const sizeOfJob = ({ envelope }: Item): number => 1 + (envelope.payload.length >>> 10)
