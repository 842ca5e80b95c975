/**
 * Tests that hold on every backend: `scenario` registers one test per engine, under `TestClock`, with a fresh queue.
 * Around that: starting a worker within the test, following its events, and standing between it and its backend.
 */
import { it } from "@effect/vitest"
import * as Context from "effect/Context"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import {
  Backend,
  type BackendError,
  type Delivery,
  type Envelope,
  type Limits,
  type Settled,
  type Settlement,
  type Shape,
  type Subscription
} from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Capability from "windlass/Capability"
import * as Worker from "windlass/Worker"

export type Engine = Backend | Capability.AllButTransactional

export interface Options {
  readonly lease?: Duration.Input
  readonly limits?: Partial<Limits>
  /** how long ended jobs stay inspectable: for ever, unless a test needs the defaults */
  readonly retention?: { readonly failures?: Duration.Input; readonly successes?: Duration.Input }
}

const forEver = { failures: "36500 days", successes: "36500 days" } as const

export const memory = (options: Options = {}): Layer.Layer<Engine> =>
  MemoryBackend.layerWith({ retention: forEver, ...options })

/** on a file of its own, in a folder that the layer removes */
export const sqlite = (options: Options = {}): Layer.Layer<Engine, BackendError> =>
  Layer.unwrap(Effect.map(
    Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "windlass-"))),
      (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true }))
    ),
    (folder) => SqliteBackend.layer({ filename: join(folder, "queue.db"), retention: forEver, ...options })
  ))

export const engines = { memory, sqlite }

/** one test per engine: `NAME (memory)`, `NAME (sqlite)` */
export const scenario = <E>(
  name: string,
  body: () => Effect.Effect<void, E, Engine | Scope.Scope>,
  options?: Options
): void => {
  for (const [engine, layer] of Object.entries(engines)) {
    it.effect(`${name} (${engine})`, () => Effect.provide(Effect.scoped(body()), layer(options)), 10_000)
  }
}

/** starts a worker that lives as long as the test's scope */
export const startWorker = <E, R>(
  layer: Layer.Layer<Worker.Worker, E, R>
): Effect.Effect<Worker.Worker["Service"], E, R | Scope.Scope> =>
  Effect.flatMap(Layer.build(layer), (context) => {
    const worker = Context.get(context, Worker.Worker)
    // a test that fails leaves jobs running: without this its clock would have to be moved through the grace period
    return Effect.as(Effect.addFinalizer(() => worker.interrupt), worker)
  })

// ------------------------------------------------------------------------------------------------------------- events

export interface Events {
  readonly all: ReadonlyArray<Worker.Event>
  readonly tags: ReadonlyArray<Worker.Event["_tag"]>
  /** waits until so many events of the tag have come (of that job, if one is given), and returns the last of them */
  readonly until: (
    tag: Worker.Event["_tag"],
    options?: { readonly id?: string; readonly count?: number }
  ) => Effect.Effect<Worker.Event>
}

/** follows a worker's events from now on */
export const follow = (worker: Worker.Worker["Service"]): Effect.Effect<Events, never, Scope.Scope> =>
  Effect.gen(function*() {
    const all: Array<Worker.Event> = []
    const waiting = new Set<() => void>()
    yield* Effect.forkScoped(
      Stream.runForEach(worker.events, (event) =>
        Effect.sync(() => {
          all.push(event)
          for (const look of waiting) look()
        })),
      { startImmediately: true }
    )
    return {
      all,
      get tags() {
        return all.map((event) => event._tag)
      },
      until: (tag, options = {}) =>
        Effect.callback((resume) => {
          const look = () => {
            const found = all.filter((event) =>
              event._tag === tag && (options.id === undefined || event.id === options.id)
            )
            if (found.length >= (options.count ?? 1)) {
              waiting.delete(look)
              resume(Effect.succeed(found[(options.count ?? 1) - 1]!))
            }
          }
          waiting.add(look)
          look()
          return Effect.sync(() => void waiting.delete(look))
        })
    }
  })

// ------------------------------------------------------------------------------------------------------------ records

/** the job as the backend has it; a job that is not there fails the test */
export const record = (id: string): Effect.Effect<Capability.JobRecord, BackendError, Capability.Inspect> =>
  Effect.flatMap(Capability.Inspect, (inspect) =>
    Effect.map(inspect.get(id), (job) => {
      if (Option.isNone(job)) throw new Error(`no job ${id}`)
      return job.value
    }))

/** publishes what no producer would: an envelope as it is */
export const publishRaw = (
  envelope: Partial<Envelope> & { readonly id: string; readonly task: string },
  queue?: string
) =>
  Effect.flatMap(Backend, (backend) =>
    backend.publish(queue ?? "default", [{
      envelope: { version: 1, payload: "null", headers: {}, origin: "user", ...envelope }
    }]))

// --------------------------------------------------------------------------------------------------------------- a spy

export interface Spy {
  /** what was settled, in order, with what the backend answered */
  readonly settlements: ReadonlyArray<
    { readonly id: string; readonly settlement: Settlement; readonly answer: Settled }
  >
  /** what was asked for and what came, claim by claim; `open` is what was claimed and not settled before this claim */
  readonly claims: ReadonlyArray<{
    readonly queue: string
    readonly max: number
    readonly open: number
    readonly ids: ReadonlyArray<string>
  }>
  /** number of jobs in each call that settled any, and of all calls that reached the backend */
  readonly batches: ReadonlyArray<number>
  readonly calls: () => number
  readonly layer: Layer.Layer<Backend>
}

/** stands between a worker and the backend, and writes down what passes; `patch` changes the subscription under it */
export const spy = (
  patch: (subscription: Subscription, queue: string) => Subscription = (subscription) => subscription
): Effect.Effect<Spy, never, Backend> =>
  Effect.map(Backend, (backend) => {
    const settlements: Array<Spy["settlements"][number]> = []
    const claims: Array<Spy["claims"][number]> = []
    const batches: Array<number> = []
    const open = new Set<string>()
    let calls = 0
    const settled = (
      items: Parameters<Subscription["settle"]>[0],
      answers: ReadonlyArray<Settled>
    ) => {
      batches.push(items.length)
      items.forEach(([receipt, settlement], i) => {
        settlements.push({ id: receipt.id, settlement, answer: answers[i]! })
        open.delete(receipt.id)
      })
    }
    const claimed = (queue: string, max: number, taken: ReadonlyArray<Delivery>) => {
      claims.push({ queue, max, open: open.size, ids: taken.map((delivery) => delivery.envelope.id) })
      for (const delivery of taken) open.add(delivery.envelope.id)
    }
    const counted = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.suspend(() => {
        calls++
        return effect
      })
    const shape: Shape = {
      ...backend,
      subscribe: (queue, options) =>
        Effect.map(backend.subscribe(queue, options), (original): Subscription => {
          const inner = patch(original, queue)
          return {
            ...inner,
            take: (max) =>
              counted(Effect.tap(inner.take(max), (taken) => Effect.sync(() => claimed(queue, max, taken)))),
            settle: (items) =>
              counted(Effect.tap(inner.settle(items), (answers) => Effect.sync(() => settled(items, answers)))),
            exchange: (items, max) =>
              counted(Effect.tap(inner.exchange(items, max), ([answers, taken]) =>
                Effect.sync(() => {
                  settled(items, answers)
                  claimed(queue, max, taken)
                })))
          }
        })
    }
    return { settlements, claims, batches, calls: () => calls, layer: Layer.succeed(Backend, shape) }
  })
