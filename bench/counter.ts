/** Sees every job of a cell once, and takes the time from when it was warm. */
import { deferred, type Engine, type Payload } from "./contender.ts"
import { engineCpu } from "./engineCpu.ts"

/** What was done in how long: a rate. */
export interface Run {
  readonly jobs: number
  readonly millis: number
  /** seconds of this process, and of the server */
  readonly cpu?: number | undefined
  readonly engineCpu?: number | undefined
  /** MiB of heap that the jobs took while they waited */
  readonly waiting?: number | undefined
}

/** half of the jobs are for warming up: a worker runs for days, and V8 needs some ten thousand of them to know it well */
export const cold = (jobs: number): number => jobs >> 1

export const cpuSeconds = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e6
}

const since = (before: number | undefined, now: number | undefined) =>
  before === undefined || now === undefined ? undefined : now - before

export const counter = (engine: Engine, count: number) => {
  const seen = new Uint8Array(count)
  const warm = count - cold(count)
  const done = deferred()
  let left = count
  let repeats = 0
  let first = 0
  let last = 0
  let cpu = 0
  let server: number | undefined
  const check = () => {
    if (repeats > 0) throw new Error(`${repeats} of ${count} jobs were handled more than once`)
  }
  return {
    all: done.promise,
    onJob: ({ i }: Payload): void => {
      if (seen[i]!++ > 0) {
        repeats++
        return
      }
      if (left === warm) {
        server = engineCpu(engine)
        cpu = cpuSeconds()
        first = performance.now()
      }
      if (--left > 0) return
      last = performance.now()
      cpu = cpuSeconds() - cpu
      done.resolve()
    },
    /** To be asked when the worker has stopped: what came twice has come then. */
    check,
    /** From the handler of the first job after the warm-up to that of the last. */
    run: (): Run => {
      check()
      return { jobs: warm, millis: last - first, cpu, engineCpu: since(server, engineCpu(engine)) }
    }
  }
}

export const timed = async (engine: Engine, count: number, what: () => Promise<unknown>): Promise<Run> => {
  const server = engineCpu(engine)
  const cpu = cpuSeconds()
  const start = performance.now()
  await what()
  const millis = performance.now() - start
  return { jobs: count, millis, cpu: cpuSeconds() - cpu, engineCpu: since(server, engineCpu(engine)) }
}

/** Milliseconds. */
export interface Percentiles {
  readonly p50: number
  readonly p95: number
  readonly p99: number
}

export const percentiles = (times: ReadonlyArray<number>): Percentiles => {
  const sorted = times.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.floor(sorted.length * share)]!
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) }
}
