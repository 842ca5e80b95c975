/** What a contender of the bench is, and what its measures share. */

export interface Payload {
  readonly i: number
  readonly to: string
  readonly t: number
}

export const payloadOf = (i: number): Payload => ({ i, to: "ann@example.org", t: 1_700_000_000_000 })

export const payloadsOf = (count: number, from = 0): ReadonlyArray<Payload> =>
  Array.from({ length: count }, (_, n) => payloadOf(from + n))

export type Engine = "memory" | "sqlite" | "postgres" | "redis"

export interface Place {
  /** fresh for every cell: a schema, a prefix, a file in the folder */
  readonly name: string
  readonly folder: string
  readonly postgres: string
  readonly redis: { readonly host: string; readonly port: number }
}

export interface Queue {
  /** one job per call, so many calls in flight */
  readonly enqueueEach: (payloads: ReadonlyArray<Payload>, inFlight: number) => Promise<unknown>
  /** as few calls as its documentation offers; undefined: it offers none */
  readonly enqueueMany?: ((payloads: ReadonlyArray<Payload>) => Promise<unknown>) | undefined
  /** begins to work and returns; `onJob` is called once per job, by its handler. May be called again after `stop` */
  readonly work: (
    concurrency: number,
    onJob: (payload: Payload) => void
  ) => Promise<{ readonly stop: () => Promise<unknown> }>
  readonly close: () => Promise<unknown>
}

/** What a contender may set for a cell, if it has a setting for that. */
export interface Use {
  /** as fast as it goes: no concurrency was asked for, `work` is given the contender's own best */
  readonly best: boolean
}

export interface Contender {
  readonly name: string
  readonly engine: Engine
  /** what was set, and what its documentation says about it */
  readonly settings: string
  readonly open: (place: Place, use: Use) => Promise<Queue>
}

/** so many promises at once */
export const pool = async <A>(items: ReadonlyArray<A>, inFlight: number, f: (item: A) => Promise<unknown>) => {
  let next = 0
  const lane = async () => {
    while (next < items.length) await f(items[next++]!)
  }
  await Promise.all(Array.from({ length: Math.min(inFlight, items.length) }, lane))
}

export const chunks = <A>(items: ReadonlyArray<A>, size: number): ReadonlyArray<ReadonlyArray<A>> =>
  Array.from({ length: Math.ceil(items.length / size) }, (_, n) => items.slice(n * size, (n + 1) * size))

/** stores jobs in as few calls as there can be */
export const bulk = (queue: Queue, some: ReadonlyArray<Payload>): Promise<unknown> =>
  queue.enqueueMany === undefined ? queue.enqueueEach(some, 100) : queue.enqueueMany(some)

export interface Deferred {
  readonly promise: Promise<void>
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

export const deferred = (): Deferred => {
  let resolve!: () => void
  let reject!: (error: Error) => void
  const promise = new Promise<void>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
