/**
 * The capabilities of the memory engine that are more than a promise.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import type * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Semaphore from "effect/Semaphore"
import * as Stream from "effect/Stream"
import type { Shape } from "../../Backend.ts"
import type * as Capability from "../../Capability.ts"
import type { Engine } from "./engine.ts"
import { ended, type Job, record, result, stateOf } from "./job.ts"

/** records made at a time while somebody pages through a queue */
const page = 128

export const results = (engine: Engine, clock: Clock.Clock): Context.Service.Shape<typeof Capability.Results> => ({
  poll: (id) =>
    Effect.sync(() => {
      const now = clock.currentTimeMillisUnsafe()
      const job = engine.jobs.get(id)
      return Option.fromUndefinedOr(job === undefined ? undefined : result(job, now))
    }),
  await: (id) =>
    Effect.callback<Capability.Result>((resume) => {
      engine.sweep(clock.currentTimeMillisUnsafe())
      const job = engine.jobs.get(id)
      if (job !== undefined && !job.live) {
        return resume(Effect.succeed(ended(job)))
      }
      const forget = engine.listeners.add(id, (result) => resume(Effect.succeed(result)))
      return Effect.sync(forget)
    })
})

export const inspect = (engine: Engine, clock: Clock.Clock): Context.Service.Shape<typeof Capability.Inspect> => {
  /** the books as they stand now: what is due is ready, what was kept long enough is gone */
  const settleBooks = () => {
    const now = clock.currentTimeMillisUnsafe()
    engine.sweep(now)
    for (const queue of engine.queues.values()) queue.promote(now)
    return now
  }
  return {
    get: (id) =>
      Effect.sync(() => {
        settleBooks()
        return Option.map(Option.fromUndefinedOr(engine.jobs.get(id)), record)
      }),
    list: ({ queue, states, task }) =>
      Stream.suspend(() => {
        settleBooks()
        return pages(engine.jobs.values(), (job) =>
          job.queue.name === queue &&
          (task === undefined || job.envelope.task === task) &&
          (states === undefined || states.includes(stateOf(job))))
      }),
    counts: (queue) => Effect.sync(() => engine.counts(queue, clock.currentTimeMillisUnsafe())),
    queues: Effect.sync(() => Array.from(engine.queues.values()).filter((queue) => queue.used).map(({ name }) => name)),
    progress: (receipt, value) => Effect.sync(() => engine.progress(receipt, value))
  }
}

export const cancel = (engine: Engine, clock: Clock.Clock): Context.Service.Shape<typeof Capability.Cancel> => ({
  request: (id) => engine.outbox.sync(() => engine.cancel(id, clock.currentTimeMillisUnsafe()))
})

export const pause = (engine: Engine): Context.Service.Shape<typeof Capability.Pause> => ({
  set: (name, paused) =>
    engine.outbox.sync(() => {
      const queue = engine.queue(name)
      queue.paused = paused
      queue.wake()
    }),
  get: (name) => Effect.sync(() => engine.queues.get(name)?.paused === true)
})

export const leader = (): Context.Service.Shape<typeof Capability.Leader> => {
  const names = new Map<string, { readonly seat: Semaphore.Semaphore; epoch: number }>()
  return {
    hold: (name) =>
      Effect.suspend(() => {
        let entry = names.get(name)
        if (entry === undefined) names.set(name, entry = { seat: Semaphore.makeUnsafe(1), epoch: 0 })
        return Effect.map(entry.seat.takeScoped(1), () => ({ epoch: ++entry.epoch }))
      })
  }
}

export const cursor = (engine: Engine, publish: Shape["publish"]): Context.Service.Shape<typeof Capability.Cursor> => ({
  get: (queue, name) => Effect.sync(() => engine.cursors.get(queue)?.get(name)),
  advance: ({ from, name, queue, to }, items) =>
    Effect.suspend(() => {
      let cursors = engine.cursors.get(queue)
      if (cursors === undefined) engine.cursors.set(queue, cursors = new Map())
      const at = cursors.get(name)
      if (at !== from) return Effect.succeed<Capability.Advanced>({ _tag: "Stale", at })
      // first, so that nobody else moves it from here; a refused batch puts it back
      cursors.set(name, to)
      return Effect.map(publish(queue, items), (published): Capability.Advanced => ({ _tag: "Advanced", published }))
        .pipe(
          Effect.onError(() =>
            Effect.sync(() => {
              if (at === undefined) cursors.delete(name)
              else cursors.set(name, at)
            })
          )
        )
    }),
  forget: (queue, names) =>
    Effect.sync(() => {
      for (const name of names) engine.cursors.get(queue)?.delete(name)
    })
})

export const deadLetter = (engine: Engine, clock: Clock.Clock): Context.Service.Shape<typeof Capability.DeadLetter> => {
  const dead = (name: string, now: number): ReadonlyArray<Job> => {
    engine.sweep(now)
    return Array.from(engine.queues.get(name)?.dead.values() ?? [])
  }
  return {
    list: (name) =>
      Stream.suspend(() => {
        engine.sweep(clock.currentTimeMillisUnsafe())
        return pages(engine.queues.get(name)?.dead.values() ?? [], () => true)
      }),
    retry: (id) =>
      engine.outbox.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        engine.sweep(now)
        const job = engine.jobs.get(id)
        if (job === undefined || job.phase !== "dead") return false
        engine.redrive(job, now)
        return true
      }),
    redrive: (name, options) =>
      engine.outbox.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        const jobs = dead(name, now).filter((job) =>
          (options?.task === undefined || job.envelope.task === options.task) &&
          (options?.reason === undefined || job.reason === options.reason)
        )
        for (const job of jobs) engine.redrive(job, now)
        return jobs.length
      }),
    purge: (name, options) =>
      Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        const { olderThanMillis } = options ?? {}
        const jobs = dead(name, now).filter((job) =>
          olderThanMillis === undefined || now - job.finishedAt! > olderThanMillis
        )
        for (const job of jobs) engine.forget(job)
        return jobs.length
      })
  }
}

/** reads on as the reader asks for more: a job that moves meanwhile may be missed or seen twice */
const pages = (jobs: Iterable<Job>, wanted: (job: Job) => boolean): Stream.Stream<Capability.JobRecord> => {
  const records = function*() {
    for (const job of jobs) {
      if (wanted(job)) yield record(job)
    }
  }
  return Stream.fromIterable({ [Symbol.iterator]: records }, { chunkSize: page })
}
