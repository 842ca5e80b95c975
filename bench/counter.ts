/** Sees every job of a cell once, and takes the time of the part that is warm. */
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

/** what looks at the measured part besides the clock */
export interface Watcher {
  readonly begin: () => void
  readonly end: () => void
}

const cpuSeconds = (): number => {
  const { system, user } = process.cpuUsage()
  return (system + user) / 1e6
}

/** Begun and ended once. */
export const stopwatch = (engine: Engine, watcher: Watcher | undefined) => {
  let server: number | undefined
  let cpu = 0
  let start = 0
  let millis = 0
  return {
    begin: (): void => {
      watcher?.begin()
      server = engineCpu(engine)
      cpu = cpuSeconds()
      start = performance.now()
    },
    end: (): void => {
      millis = performance.now() - start
      cpu = cpuSeconds() - cpu
      watcher?.end()
    },
    /** The time of the server is counted up to this call: it may have something left to do for the last jobs. */
    run: (jobs: number): Run => {
      const now = engineCpu(engine)
      return { jobs, millis, cpu, engineCpu: server === undefined || now === undefined ? undefined : now - server }
    }
  }
}

/** `warm` is told of the first job after the warm-up and of the last one, in their handlers. */
export const counter = (count: number, warm?: Watcher) => {
  const seen = new Uint8Array(count)
  const begins = count - cold(count)
  const done = deferred()
  let left = count
  let repeats = 0
  return {
    all: done.promise,
    onJob: ({ i }: Payload): void => {
      if (seen[i]!++ > 0) {
        repeats++
        return
      }
      if (left === begins) warm?.begin()
      if (--left > 0) return
      warm?.end()
      done.resolve()
    },
    /** To be asked when the worker has stopped: what came twice has come then. */
    check: (): void => {
      if (repeats > 0) throw new Error(`${repeats} of ${count} jobs were handled more than once`)
    }
  }
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
