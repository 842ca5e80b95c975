/**
 * What a claim costs when very many jobs wait: from one handler to the next at concurrency 1, which is the settlement of one
 * job and the claim of the next, with few jobs, with `order.jobs`, and after a transaction was pinned and 20,000 more were
 * settled, whose rows the server can therefore not clean away.
 */
import type { Order } from "./cell.ts"
import { bulk, deferred, type Payload, payloadsOf, type Queue } from "./contender.ts"
import { type Percentiles, percentiles } from "./counter.ts"
import { pin } from "./pin.ts"
import type { At } from "./results.ts"

const warm = 100
const samples = 1_000
const settledBehind = 20_000

/** at most so many at once in memory */
const part = 50_000

export const backlog = async (
  queue: Queue,
  { jobs, place }: Order
): Promise<Readonly<Record<string, Percentiles>>> => {
  const seen = new Set<number>()
  /** works until so many more were handled; one that began meanwhile may be handled too */
  const handle = async (concurrency: number, count: number, onJob: () => void) => {
    const done = deferred()
    let left = count
    let repeats = 0
    const worker = await queue.work(concurrency, ({ i }: Payload) => {
      if (seen.has(i)) repeats++
      seen.add(i)
      onJob()
      if (--left === 0) done.resolve()
    })
    await done.promise
    await worker.stop()
    if (repeats > 0) throw new Error(`${repeats} jobs were handled more than once`)
  }
  const gaps = async () => {
    const times: Array<number> = []
    let last = performance.now()
    await handle(1, warm + samples, () => {
      const now = performance.now()
      times.push(now - last)
      last = now
    })
    return percentiles(times.slice(warm))
  }

  const few = 2 * (warm + samples)
  await bulk(queue, payloadsOf(few))
  const atFew = await gaps()
  for (let n = 0; n < jobs; n += part) await bulk(queue, payloadsOf(Math.min(part, jobs - n), few + n))
  const atMany = await gaps()
  const unpin = await pin(place.postgres)
  await handle(50, Math.min(settledBehind, jobs >> 1), () => {})
  const atPinned = await gaps()
  await unpin()
  return {
    "few jobs": atFew,
    "a million": atMany,
    "a million, behind a pinned transaction": atPinned
  } satisfies Partial<Record<At, Percentiles>>
}
