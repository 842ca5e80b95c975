/** Who takes part, in what, and with how many jobs. A cell loads the module of its contender and no other. */
import type { Contender, Engine } from "./contender.ts"
import type { Kind, Measure } from "./results.ts"

export interface Entrant {
  readonly engine: Engine
  readonly name: string
  readonly kind: Kind
  readonly module: string
  /**
   * Thousands of jobs of a cell, about what it does in a second on two cores of 2024, half of it for warming up;
   * absent: it does not take part. `one` is `process` and `enqueue` with one at
   * a time, `many` with more.
   */
  readonly jobs: {
    readonly process?: { readonly one?: number; readonly many: number }
    readonly enqueue?: { readonly one: number; readonly many?: number }
    readonly bulk?: number
    readonly through?: number
    readonly latency?: number
    readonly scale?: number
    readonly backlog?: number
  }
  /** jobs at once for `process, best`; absent when it is one of those that are measured anyway */
  readonly best?: number
}

type Jobs = Entrant["jobs"]

const latency = 0.3
/** of a million, less in the short mode */
const backlog = 1_000

const windlass = (engine: Engine, jobs: Jobs, bare: Jobs): ReadonlyArray<Entrant> => [
  {
    engine,
    name: "Windlass, three middlewares",
    kind: "windlass",
    module: "windlass.ts",
    jobs: { latency, ...jobs },
    best: 200
  },
  { engine, name: "Windlass, bare", kind: "windlass", module: "windlass.ts", jobs: bare, best: 200 }
]

/** what claiming ahead brings; at the same places as the bare one */
const careful = (engine: Engine, jobs: Jobs): Entrant => ({
  engine,
  name: "Windlass, never ahead",
  kind: "windlass",
  module: "windlass.ts",
  jobs,
  best: 200
})

const peer = (engine: Engine, name: string, module: string, jobs: Jobs, best?: number): Entrant => ({
  engine,
  name,
  kind: "peer",
  module,
  jobs: { latency, ...jobs },
  ...(best === undefined ? {} : { best })
})

/** The engine alone: batches of 100 whatever is asked for, so `process` is measured once, as `best`. */
const raw = (engine: Engine, name: string, jobs: Jobs): Entrant => ({
  engine,
  name,
  kind: "raw",
  module: `raw/${engine}.ts`,
  jobs,
  best: 100
})

export const entrants: ReadonlyArray<Entrant> = [
  ...windlass("memory", {
    // as many as PersistedQueue gets, which slows down when more are waiting
    process: { one: 60, many: 120 },
    enqueue: { one: 40, many: 40 },
    bulk: 100,
    through: 120
  }, { process: { many: 120 } }),
  peer("memory", "Effect PersistedQueue", "effect.ts", {
    process: { one: 40, many: 120 },
    enqueue: { one: 40, many: 40 },
    through: 120
  }),
  peer("memory", "effect-mq", "peers/effect-mq/contender.ts", {
    process: { one: 3, many: 5 },
    enqueue: { one: 5, many: 5 },
    bulk: 20,
    through: 8
  }),

  ...windlass("sqlite", {
    process: { one: 100, many: 200 },
    enqueue: { one: 10, many: 40 },
    bulk: 80,
    through: 60
  }, { process: { many: 200 } }),
  careful("sqlite", { process: { one: 20, many: 200 } }),
  raw("sqlite", "raw statements", { process: { many: 200 }, enqueue: { one: 20 }, bulk: 150 }),

  ...windlass("postgres", {
    process: { one: 60, many: 80 },
    enqueue: { one: 2, many: 60 },
    bulk: 60,
    through: 60,
    scale: 120
  }, { process: { many: 80 } }),
  {
    engine: "postgres",
    name: "Windlass, a job per round trip",
    kind: "windlass",
    module: "windlass.ts",
    jobs: { process: { one: 2, many: 3 } }
  },
  // from one handler to the next at concurrency 1: with claims of many there would be nothing to see
  careful("postgres", { process: { one: 3, many: 50 }, backlog }),
  raw("postgres", "raw statements", { process: { many: 60 }, enqueue: { one: 2 }, bulk: 100 }),
  peer("postgres", "graphile-worker, batched", "peers/graphile.ts", {
    process: { one: 40, many: 60 },
    enqueue: { one: 1, many: 3 },
    bulk: 30,
    through: 3,
    scale: 80
  }, 100),
  peer("postgres", "graphile-worker", "peers/graphile.ts", {
    process: { one: 1.5, many: 3 },
    through: 2,
    backlog
  }),
  peer("postgres", "pg-boss, batch handler", "peers/pgboss.ts", {
    process: { many: 60 },
    enqueue: { one: 1, many: 3 },
    bulk: 30,
    through: 3
  }, 2),
  peer("postgres", "BullMQ", "peers/bullmq.ts", {
    process: { one: 1, many: 1.6 },
    enqueue: { one: 1, many: 4 },
    bulk: 20,
    through: 2,
    scale: 3,
    backlog
  }),
  peer("postgres", "Effect PersistedQueue", "effect.ts", {
    process: { one: 0.5, many: 1.5 },
    enqueue: { one: 1.5, many: 8 },
    through: 3
  }),
  peer("postgres", "effect-mq", "peers/effect-mq/contender.ts", {
    process: { one: 0.3, many: 0.6 },
    enqueue: { one: 0.6, many: 3 },
    bulk: 5,
    through: 1
  }),

  ...windlass("redis", {
    process: { one: 80, many: 100 },
    enqueue: { one: 5, many: 120 },
    bulk: 80,
    through: 90,
    scale: 160
  }, { process: { many: 100 } }),
  careful("redis", { process: { one: 8, many: 70 } }),
  raw("redis", "raw script", { process: { many: 150 }, enqueue: { one: 8 }, bulk: 200 }),
  peer("redis", "BullMQ", "peers/bullmq.ts", {
    process: { one: 3, many: 15 },
    enqueue: { one: 4, many: 40 },
    bulk: 20,
    through: 24,
    scale: 30
  }),
  peer("redis", "bee-queue", "peers/bee.ts", {
    process: { one: 3, many: 20 },
    enqueue: { one: 6, many: 100 },
    bulk: 60,
    through: 36,
    scale: 40
  }, 200),
  peer("redis", "Effect PersistedQueue", "effect.ts", {
    process: { one: 1.2, many: 5 },
    enqueue: { one: 6, many: 40 },
    through: 12
  }),
  peer("redis", "effect-mq", "peers/effect-mq/contender.ts", {
    process: { one: 1, many: 2 },
    enqueue: { one: 2, many: 4 },
    bulk: 10,
    through: 4
  })
]

/** How many jobs; undefined when it does not take part. */
export const jobsOf = ({ jobs }: Entrant, measure: Measure, at: unknown): number | undefined => {
  const thousands = measure === "process" || measure === "enqueue"
    ? jobs[measure]?.[at === 1 ? "one" : "many"]
    : jobs[measure]
  return thousands === undefined ? undefined : Math.round(thousands * 1_000)
}

type Module = { readonly contenders: ReadonlyArray<Contender> }

export const load = async (engine: Engine, name: string): Promise<Contender> => {
  const entrant = entrants.find((one) => one.engine === engine && one.name === name)
  if (entrant === undefined) throw new Error(`no contender ${name} on ${engine}`)
  // by an address that the compiler does not follow: peers are installed by those who run the bench
  const { contenders } = await import(new URL(entrant.module, import.meta.url).href) as Module
  return contenders.find((one) => one.engine === engine && one.name === name)!
}
