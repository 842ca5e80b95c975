/**
 * What a claim costs when very many jobs wait: from one handler to the next at concurrency 1, which is the settlement of one
 * job and the claim of the next. With few jobs, with `order.jobs`, and after a transaction was pinned and 20,000 more were
 * settled, whose rows the server can therefore not clean away. Who gets slow has fewer samples, and settles fewer: no step
 * takes longer than fifteen seconds.
 */
import type { Order } from "./cell.ts"
import { bulk, deferred, type Payload, payloadsOf, type Queue } from "./contender.ts"
import { type Percentiles, percentiles } from "./counter.ts"
import { pin } from "./pin.ts"
import type { At } from "./results.ts"

const warm = 100
const samples = 1_000
const settledBehind = 20_000
const patience = 15_000

/** at most so many at once in memory */
const part = 50_000

/** Times, and the number of jobs that it is about: those that waited, or those that were settled behind the pin. */
export interface Point extends Percentiles {
  readonly jobs: number
}

export const backlog = async (queue: Queue, { jobs, place }: Order): Promise<Readonly<Record<string, Point>>> => {
  const seen = new Set<number>()
  /** Works until so many more were handled or time is up, and says how many were; what had begun is handled too. */
  const handle = async (concurrency: number, most: number, onJob: () => void): Promise<number> => {
    const enough = deferred()
    const timer = setTimeout(enough.resolve, patience)
    let handled = 0
    let repeats = 0
    const worker = await queue.work(concurrency, ({ i }: Payload) => {
      if (seen.has(i)) repeats++
      seen.add(i)
      onJob()
      if (++handled === most) enough.resolve()
    })
    await enough.promise
    clearTimeout(timer)
    await worker.stop()
    if (repeats > 0) throw new Error(`${repeats} jobs were handled more than once`)
    return handled
  }
  const gaps = async () => {
    const times: Array<number> = []
    let last = performance.now()
    await handle(1, warm + samples, () => {
      const now = performance.now()
      times.push(now - last)
      last = now
    })
    return percentiles(times.slice(Math.min(warm, times.length >> 1)))
  }

  const few = 2 * (warm + samples)
  await bulk(queue, payloadsOf(few))
  const atFew = await gaps()
  for (let n = 0; n < jobs; n += part) await bulk(queue, payloadsOf(Math.min(part, jobs - n), few + n))
  const atMany = await gaps()
  const unpin = await pin(place.postgres)
  const settled = await handle(50, Math.min(settledBehind, jobs >> 1), () => {})
  const atPinned = await gaps()
  await unpin()
  return {
    "few jobs": { ...atFew, jobs: few },
    "a million": { ...atMany, jobs },
    "a million, behind a pinned transaction": { ...atPinned, jobs: settled }
  } satisfies Partial<Record<At, Point>>
}
