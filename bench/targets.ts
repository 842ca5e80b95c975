/**
 * What Windlass wants to be, computed from the rows of one run: `node bench/targets.ts` prints it from `results.json`. A
 * ratio is one of medians, and reached when it is, without a margin. A row that is missing makes a target "not measured".
 */
import type { Engine } from "./contender.ts"
import { type At, bestPeer, find, type Measure, median, type Results, type Row, show, type Where } from "./results.ts"

export interface Target {
  readonly work: string
  /** what is asked for, in words */
  readonly asked: string
  /** ours and theirs */
  readonly measured: string
  readonly ratio: string
  readonly verdict: "reached" | "not reached" | "not measured"
}

const three = "Windlass, three middlewares"
const bare = "Windlass, bare"

const value = (row: Row | undefined): number | undefined => row === undefined ? undefined : median(row.figures)

const unmeasured = (work: string, asked: string): Target => ({
  work,
  asked,
  measured: "",
  ratio: "",
  verdict: "not measured"
})

const judge = (isReached: boolean): Target["verdict"] => isReached ? "reached" : "not reached"

/** Ours has to be at least so many times theirs. */
const times = (work: string, asked: string, ours: Row | undefined, theirs: Row | undefined, least: number): Target => {
  const [a, b] = [value(ours), value(theirs)]
  if (a === undefined || b === undefined) return unmeasured(work, asked)
  const ratio = a / b
  return {
    work,
    asked,
    measured: `${show(a)} against ${show(b)} (${theirs!.name}) jobs a second`,
    ratio: least < 1 ? `${Math.round(100 * ratio)} %` : `${show(ratio)} x`,
    verdict: judge(ratio >= least)
  }
}

/** Ours may be at most so much: a number, or what a peer has. */
const atMost = (
  work: string,
  asked: string,
  ours: number | undefined,
  most: number | undefined,
  unit: string
): Target =>
  ours === undefined || most === undefined ? unmeasured(work, asked) : {
    work,
    asked,
    measured: `${show(ours)} of at most ${show(most)} ${unit}`,
    ratio: `${(ours / most).toFixed(2)} x`,
    verdict: judge(ours <= most)
  }

export const targets = (results: Results): ReadonlyArray<Target> => {
  const at = (engine: Engine, measure: Measure, name: string, at?: At) => find(results, { engine, measure, name, at })
  const best = (where: Omit<Where, "name">) => bestPeer(results, where)
  const pg = (measure: Measure, name: string, point?: At) => at("postgres", measure, name, point)
  const redis = (measure: Measure, name: string, point?: At) => at("redis", measure, name, point)
  const latency = (engine: Engine, name: string) => value(at(engine, "latency", name))
  const third = (cpu: number | undefined) => cpu === undefined ? undefined : cpu / 3

  const process = "Postgres, process, one process"
  const singles = "Postgres, single enqueues, 100 in flight"
  const redisProcess = "Redis, process, 50 at once"
  const redisSingles = "Redis, single enqueues, 100 in flight"
  const idle = "idle latency, p50"
  return [
    times(
      process,
      "2 x graphile-worker, batched",
      pg("process", three),
      pg("process", "graphile-worker, batched"),
      2
    ),
    times(process, "30 x BullMQ", pg("process", three), pg("process", "BullMQ"), 30),
    times(process, "50 % of raw", pg("process", three), pg("process", "raw statements"), 0.5),
    times(
      singles,
      "10 x the best peer",
      pg("enqueue", three, 100),
      best({ engine: "postgres", measure: "enqueue", at: 100 }),
      10
    ),
    times(
      "Postgres, bulk enqueue",
      "2.5 x the best peer",
      pg("bulk", three),
      best({ engine: "postgres", measure: "bulk" }),
      2.5
    ),
    times(
      "Postgres, end to end",
      "10 x the best peer",
      pg("through", three),
      best({ engine: "postgres", measure: "through" }),
      10
    ),
    times(
      "Postgres, process, a job per round trip",
      "graphile-worker's default",
      pg("process", "Windlass, a job per round trip"),
      pg("process", "graphile-worker"),
      1
    ),
    times(redisProcess, "3 x BullMQ", redis("process", three, 50), redis("process", "BullMQ", 50), 3),
    times(redisProcess, "5 x BullMQ (stretch)", redis("process", three, 50), redis("process", "BullMQ", 50), 5),
    times(redisProcess, "2.5 x bee-queue", redis("process", three, 50), redis("process", "bee-queue", 50), 2.5),
    atMost(
      redisProcess,
      "a third of BullMQ's CPU",
      redis("process", three, 50)?.cpu,
      third(redis("process", "BullMQ", 50)?.cpu),
      "CPU seconds for 10,000 jobs"
    ),
    times(redisSingles, "3 x BullMQ", redis("enqueue", three, 100), redis("enqueue", "BullMQ", 100), 3),
    times(redisSingles, "ahead of bee-queue", redis("enqueue", three, 100), redis("enqueue", "bee-queue", 100), 1),
    times(
      "SQLite, process, three middlewares",
      "40 % of raw",
      at("sqlite", "process", three),
      at("sqlite", "process", "raw statements"),
      0.4
    ),
    times(
      "SQLite, process, bare",
      "55 % of raw",
      at("sqlite", "process", bare),
      at("sqlite", "process", "raw statements"),
      0.55
    ),
    times(
      "memory, process, three middlewares",
      "2 x Effect PersistedQueue",
      at("memory", "process", three),
      at("memory", "process", "Effect PersistedQueue"),
      2
    ),
    times(
      "memory, process, bare",
      "3.5 x Effect PersistedQueue",
      at("memory", "process", bare),
      at("memory", "process", "Effect PersistedQueue"),
      3.5
    ),
    times(
      "memory, process, three middlewares",
      "30 x effect-mq",
      at("memory", "process", three),
      at("memory", "process", "effect-mq"),
      30
    ),
    atMost(`memory, ${idle}`, "0.05 ms", latency("memory", three), 0.05, "ms"),
    atMost(`Redis, ${idle}`, "bee-queue's", latency("redis", three), latency("redis", "bee-queue"), "ms"),
    atMost(`Postgres, ${idle}`, "1 ms", latency("postgres", three), 1, "ms"),
    atMost(`Postgres, ${idle}`, "ahead of BullMQ", latency("postgres", three), latency("postgres", "BullMQ"), "ms")
  ]
}

if (import.meta.main) {
  const { readFileSync } = await import("node:fs")
  const { printTargets } = await import("./print.ts")
  const text = readFileSync(new URL("results.json", import.meta.url), "utf8")
  printTargets(targets(JSON.parse(text) as Results))
}
