/**
 * One cell of the bench in a process of its own: one contender, one measure. Prints what it measured as a line of JSON.
 * Every job has to be handled once, or the cell fails.
 */
import { backlog, type Point } from "./backlog.ts"
import {
  bulk,
  deferred,
  type Engine,
  type Payload,
  payloadOf,
  payloadsOf,
  type Place,
  type Queue
} from "./contender.ts"
import { cold, counter, percentiles, type Run, stopwatch, type Watcher } from "./counter.ts"
import { profiler } from "./profile/profiler.ts"
import { load } from "./registry.ts"
import type { At, Measure } from "./results.ts"
import { scale } from "./scale.ts"

export interface Order {
  readonly engine: Engine
  readonly name: string
  readonly measure: Measure
  readonly at: At
  readonly jobs: number
  /** of the worker; of the producer for `enqueue` */
  readonly concurrency: number
  readonly place: Place
  /** where a profile of the measured part is to be written */
  readonly profile?: string | undefined
}

/** A row gets `figure` (jobs a second, milliseconds); `points` are rows of their own, by what they were measured at. */
export interface Found {
  readonly settings: string
  readonly figure?: number | undefined
  readonly p95?: number | undefined
  readonly p99?: number | undefined
  /** seconds for 10,000 jobs */
  readonly cpu?: number | undefined
  readonly engineCpu?: number | undefined
  /** MiB */
  readonly resident: number
  readonly waiting?: number | undefined
  readonly points?: Readonly<Record<string, Point>> | undefined
}

/** milliseconds of one job after another before a worker is called idle: it runs for days, and its code is compiled by then */
const warming = 1_500

const sleep = (millis: number) => new Promise((resolve) => setTimeout(resolve, millis))

/** MiB of heap, after a collection */
const heap = () => {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed / 2 ** 20
}

type Part = Omit<Found, "settings" | "resident">

const rate = ({ cpu, engineCpu, jobs, millis, waiting }: Run): Part => {
  const per = (seconds: number | undefined) => seconds === undefined ? undefined : seconds / jobs * 10_000
  return { figure: jobs / millis * 1_000, cpu: per(cpu), engineCpu: per(engineCpu), waiting }
}

const watcher = ({ profile }: Order): Watcher | undefined => profile === undefined ? undefined : profiler(profile)

const timed = async (order: Order, jobs: number, what: () => Promise<unknown>): Promise<Run> => {
  const clock = stopwatch(order.engine, watcher(order))
  clock.begin()
  await what()
  clock.end()
  return clock.run(jobs)
}

const measures: Record<Measure, (queue: Queue, order: Order) => Promise<Part>> = {
  enqueue: async (queue, order) => {
    const payloads = payloadsOf(order.jobs)
    await queue.enqueueEach(payloads.slice(0, cold(order.jobs)), order.concurrency)
    const warm = payloads.slice(cold(order.jobs))
    return rate(await timed(order, warm.length, () => queue.enqueueEach(warm, order.concurrency)))
  },
  bulk: async (queue, order) => {
    const payloads = payloadsOf(order.jobs)
    await bulk(queue, payloads.slice(0, cold(order.jobs)))
    const warm = payloads.slice(cold(order.jobs))
    return rate(await timed(order, warm.length, () => bulk(queue, warm)))
  },
  process: async (queue, order) => {
    const { concurrency, engine, jobs } = order
    const payloads = payloadsOf(jobs)
    const before = heap()
    await bulk(queue, payloads)
    const waiting = engine === "memory" ? (heap() - before) / jobs * 10_000 : undefined
    const clock = stopwatch(engine, watcher(order))
    const count = counter(jobs, clock)
    const worker = await queue.work(concurrency, count.onJob)
    await count.all
    await worker.stop()
    count.check()
    return rate({ ...clock.run(jobs - cold(jobs)), waiting })
  },
  // from the first call to the last handler, and not between handlers: a batch handler would have its batches for nothing
  through: async (queue, order) => {
    const { concurrency, jobs } = order
    const half = cold(jobs)
    const warming = counter(half)
    const count = counter(jobs - half)
    const onJob = (payload: Payload) =>
      payload.i < half ? warming.onJob(payload) : count.onJob({ ...payload, i: payload.i - half })
    const worker = await queue.work(concurrency, onJob)
    await queue.enqueueEach(payloadsOf(half), 100)
    await warming.all
    const found = await timed(
      order,
      jobs - half,
      () => Promise.all([queue.enqueueEach(payloadsOf(jobs - half, half), 100), count.all])
    )
    await worker.stop()
    warming.check()
    count.check()
    return rate(found)
  },
  latency: async (queue, { concurrency, jobs }) => {
    let came: () => void = () => {}
    const worker = await queue.work(concurrency, () => came())
    const once = async (payload: Payload) => {
      const arrived = deferred()
      came = arrived.resolve
      const start = performance.now()
      const enqueued = queue.enqueueEach([payload], 1)
      await arrived.promise
      const millis = performance.now() - start
      await enqueued
      return millis
    }
    for (const end = performance.now() + warming; performance.now() < end;) await once(payloadOf(0))
    // until it is idle
    await sleep(500)
    const times: Array<number> = []
    for (const payload of payloadsOf(jobs)) {
      await sleep(3)
      times.push(await once(payload))
    }
    await worker.stop()
    const { p50, p95, p99 } = percentiles(times)
    return { figure: p50, p95, p99 }
  },
  scale: async (queue, order) => rate(await scale(queue, order)),
  backlog: async (queue, order) => ({ points: await backlog(queue, order) })
}

if (import.meta.main) {
  const order = JSON.parse(process.argv[2]!) as Order
  const contender = await load(order.engine, order.name)
  const queue = await contender.open(order.place, { best: order.at === "best" })
  const part = await measures[order.measure](queue, order)
  // of the whole life of the process, the backlog that it stored included
  const found: Found = { ...part, resident: process.resourceUsage().maxRSS / 2 ** 10, settings: contender.settings }
  process.stdout.write(`${JSON.stringify(found)}\n`)
  // closing may wait for connections that block: what counts was measured
  await Promise.race([queue.close(), sleep(2_000)])
  process.exit(0)
}
