/**
 * What a fault has to work with: a place of its own, producers and workers at it, and a ledger of what happened.
 */
import * as Data from "effect/Data"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Schedule from "effect/Schedule"
import type * as Scope from "effect/Scope"
import { Backend, type BackendError, type Item, type Published, type Shape } from "windlass/Backend"
import { Inspect } from "windlass/Capability"
import type { Settings } from "./child.ts"
import { start } from "./children.ts"
import { concurrency } from "./fault.ts"
import { Ledger } from "./ledger.ts"
import { type Chance, options } from "./options.ts"
import { layerOf, type Place, type Services } from "./places.ts"
import type { Server } from "./servers.ts"
import { type Options, run, steadyNow } from "./work.ts"

export class Stalled extends Data.TaggedError("Stalled")<{ readonly message: string }> {}

/** milliseconds after which work that stands still is called lost */
const patience = 30_000

/** tries a call again for as long as the backend says that it is worth it */
const patiently = <A, R>(call: Effect.Effect<A, BackendError, R>): Effect.Effect<A, BackendError, R> =>
  Effect.retry(call, {
    while: (error) => error.retryable,
    schedule: Schedule.spaced("50 millis").pipe(Schedule.upTo({ duration: patience }))
  })

const queue = "default"

/** what the calls that published an id were answered */
interface Calls {
  unknown: number
  /** times of the answers, on the clock of the machine */
  readonly stored: Array<number>
}

export class World {
  readonly place: Place
  readonly chance: Chance
  /** undefined for engines without one */
  readonly server: Server | undefined
  readonly ledger = new Ledger()
  readonly ids: Array<string> = []
  private readonly calls = new Map<string, Calls>()
  private readonly victims = new Set<string>()
  /** whether its workers may claim more than they have slots */
  private readonly claimAhead: boolean

  constructor(place: Place, chance: Chance, server: Server | undefined) {
    this.place = place
    this.chance = chance
    this.server = server
    this.claimAhead = chance.coin
  }

  /** jobs that this world counts on from now on */
  jobs(
    count: number,
    payload: { readonly fails?: boolean; readonly takes?: number } = {},
    options: Omit<Item, "envelope"> = {}
  ): ReadonlyArray<Item> {
    const encoded = JSON.stringify({ fails: payload.fails ?? false, takes: payload.takes ?? 0 })
    const first = this.ids.length
    const items = Array.from({ length: count }, (_, i): Item => ({
      envelope: { id: `j${first + i}`, task: "Work", version: 1, payload: encoded, headers: {}, origin: "user" },
      ...options
    }))
    this.ids.push(...items.map(({ envelope }) => envelope.id))
    return items
  }

  /** one call; what it was answered is noted */
  send(backend: Shape, items: ReadonlyArray<Item>): Effect.Effect<ReadonlyArray<Published>, BackendError> {
    return backend.publish(queue, items).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          this.ledger.hear("producer", `failed ${error.outcome} ${error.message}`)
          if (error.outcome === "Unknown") { for (const { envelope } of items) this.callsOf(envelope.id).unknown++ }
        })
      ),
      Effect.tap((answers) =>
        Effect.sync(() => {
          const now = steadyNow()
          items.forEach(({ envelope }, i) => {
            if (answers[i]?._tag === "Stored") this.callsOf(envelope.id).stored.push(now)
          })
        })
      )
    )
  }

  /** publishes jobs one batch after the other, each until it is said to be stored */
  publish(
    count: number,
    payload: { readonly fails?: boolean; readonly takes?: number } = {},
    batch = 50
  ): Effect.Effect<void, BackendError, Backend> {
    return Effect.flatMap(Backend, (backend) => {
      const items = this.jobs(count, payload)
      const batches = Array.from(
        { length: Math.ceil(count / batch) },
        (_, i) => items.slice(i * batch, (i + 1) * batch)
      )
      return Effect.forEach(batches, (some) => patiently(this.send(backend, some)), { discard: true })
    })
  }

  private callsOf(id: string): Calls {
    let calls = this.calls.get(id)
    if (calls === undefined) this.calls.set(id, calls = { unknown: 0, stored: [] })
    return calls
  }

  /**
   * What was published again after its end. An engine knows an id for as long as it has the job: a publish whose outcome
   * is `Unknown` may have stored it, and when it is sent again after that job has ended and was forgotten, it begins
   * another life. `count`: lives beyond the first. `wrong`: ids with a life that no call can have begun, or that began
   * before the handler of the one before it had succeeded.
   */
  get again(): { readonly count: number; readonly wrong: ReadonlyArray<string> } {
    let count = 0
    const wrong: Array<string> = []
    for (const id of this.ids) {
      const doneAt = this.ledger.livesOf(id)
      const { stored, unknown } = this.callsOf(id)
      count += Math.max(0, doneAt.length - 1)
      const begun = stored.at(-1) ?? Infinity
      if (
        doneAt.length > 1 && (doneAt.length > unknown + stored.length || doneAt.slice(0, -1).some((at) => at > begun))
      ) {
        wrong.push(id)
      }
    }
    return { count, wrong }
  }

  /** a worker in a process of its own */
  child(settings: Omit<Settings, "place"> & { readonly url?: string }) {
    const { url, ...rest } = settings
    // what it may cost to hold it up or to cut it off is for the fault to say
    if (settings.stop !== undefined || url !== undefined) this.victims.add(settings.worker)
    return start(
      { claimAhead: this.claimAhead, ...rest, place: { ...this.place, url: url ?? this.place.url } },
      (line) => this.ledger.hear(rest.worker, line)
    )
  }

  /** a worker in this process, until the scope ends */
  survivor(settings: Partial<Options> = {}): Effect.Effect<void, never, Services | Scope.Scope> {
    const worker = settings.worker ?? "survivor"
    const hands = {
      say: (line: string) => this.ledger.hear(worker, line),
      stop: () => {}
    }
    return Effect.asVoid(
      Effect.forkScoped(Effect.orDie(run({ concurrency, claimAhead: this.claimAhead, ...settings, worker }, hands)))
    )
  }

  /** how many entries may be repeated because the machine was too busy for a worker that nothing was done to */
  get starved(): number {
    return this.ledger.starvedBeside(this.victims)
  }

  /**
   * How many entries may be repeated when one worker of the suite is gone that had entered so many and not settled them. It
   * has no more than its slots, but where it claims ahead: then as many as it had claimed, all of them jobs that ended at
   * once.
   */
  repeatedAtMost(entered: number): number {
    return this.claimAhead ? entered : Math.min(concurrency, entered)
  }

  /** waits until so many jobs are done */
  done(count: number): Effect.Effect<void> {
    return this.until(() => this.ledger.doneCount >= count)
  }

  /** waits until these are done */
  allDone(ids: Iterable<string>): Effect.Effect<void> {
    const all = Array.from(ids)
    return this.until(() => all.every((id) => this.ledger.isDone(id)))
  }

  /** waits until that worker has all of these at once */
  heldBy(worker: string, ids: ReadonlyArray<string>): Effect.Effect<void> {
    return this.until(() => {
      const held = this.ledger.held(worker)
      return ids.every((id) => held.has(id))
    })
  }

  private until(isSo: () => boolean): Effect.Effect<void> {
    return Effect.callback((resume) => {
      const look = () => {
        if (!isSo()) return
        leave()
        resume(Effect.void)
      }
      const leave = this.ledger.follow(look)
      look()
      return Effect.sync(leave)
    })
  }

  /** waits until a worker stands at its crash point; when everything is done first it never comes there */
  comes<A, E>(reached: Effect.Effect<A, E>): Effect.Effect<A, E | BackendError | Stalled, Inspect> {
    const never = Effect.flatMap(this.drained, () =>
      Effect.fail(
        new Stalled({
          message: `all jobs are done, and the worker has not come to its crash point so often${
            options.nth === undefined ? "" : `: give a smaller --nth than ${options.nth}`
          }`
        })
      ))
    return Effect.raceFirst(reached, never)
  }

  /** waits until the engine has nothing left to do */
  get drained(): Effect.Effect<void, BackendError | Stalled, Inspect> {
    return Effect.gen({ self: this }, function*() {
      const inspect = yield* Inspect
      let deadline = performance.now() + patience
      let heard = -1
      for (;;) {
        if (this.ledger.lines.length > heard) {
          heard = this.ledger.lines.length
          deadline = performance.now() + patience
        }
        const counts = yield* patiently(inspect.counts(queue))
        if (counts.ready + counts.scheduled + counts.active === 0) return
        if (performance.now() > deadline) {
          const last = this.ledger.lines.slice(-12).join("\n")
          return yield* new Stalled({
            message: `${JSON.stringify(counts)} and nothing heard for ${patience} ms; last heard:\n${last}`
          })
        }
        yield* Effect.sleep(10)
      }
    })
  }

  /** jobs that were enqueued and have not succeeded */
  get lost(): Effect.Effect<ReadonlyArray<string>, BackendError, Inspect> {
    return Effect.gen({ self: this }, function*() {
      const inspect = yield* Inspect
      const lost: Array<string> = []
      for (const id of this.ids) {
        const job = yield* patiently(inspect.get(id))
        const succeeded = Option.isNone(job)
          ? !this.place.keep
          : job.value.state === "succeeded" &&
            job.value.history.filter(({ event }) => event === "succeeded").length === 1
        if (!succeeded || !this.ledger.isDone(id)) {
          lost.push(`${id} (${Option.isNone(job) ? "gone" : job.value.state})`)
        }
      }
      return lost
    })
  }
}

/** so many in the short form, more in the long one */
export const jobs = (short: number): number => options.long ? short * 10 : short

export const provided = <A, E>(
  world: World,
  effect: Effect.Effect<A, E, Services | Scope.Scope>
): Effect.Effect<A, unknown> => Effect.provide(Effect.scoped(effect), layerOf(world.place))
