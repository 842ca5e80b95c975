/**
 * At most so many jobs started in so much time: gates on Effect's `RateLimiter`, so a job that may not start yet is not
 * claimed at all, and waits where others can take it.
 *
 * - {@link gate}: all jobs of the workers, or of the queues, that have the gate in their list
 * - {@link byKey}: the jobs of each key, for example of each tenant or each mail domain
 *
 * A token is spent when a job starts and comes back only if it did not (law L10): an empty claim, a job that another
 * middleware turned away before its chain was entered. The limiter cannot take tokens back, so they are kept in the
 * process and used first, as long as the limiter would not have refilled by itself. The rate is that of the claims: jobs
 * that wait between their claim and their start (in a middleware of the delivery point) may start closer together.
 *
 * They need `RateLimiter` of `effect/persistence`: {@link layerMemory} for this process, its Redis store for all of them.
 * With a shared store the limit holds for everybody who uses the same `key`.
 *
 * ```ts
 * import * as Layer from "effect/Layer"
 * import * as RateLimiter from "effect/persistence/RateLimiter"
 * import * as RateLimit from "windlass/middleware/RateLimit"
 *
 * const smtp = RateLimit.gate({ key: "smtp", limit: 100, window: "1 minute" })
 * const perTenant = RateLimit.byKey({ key: (job) => job.headers["tenant"], limit: 10, window: "1 second" })
 * export const options = { gates: { emails: [smtp, perTenant] } }
 * // Worker.layer(App, options).pipe(Layer.provide(RateLimit.layerMemory))
 *
 * // for all processes: Layer.provide(shared), on a layer of effect/persistence/Redis
 * export const shared = RateLimiter.layer.pipe(Layer.provide(RateLimiter.layerStoreRedis()))
 * ```
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import * as Layer from "effect/Layer"
import * as RateLimiter from "effect/persistence/RateLimiter"
import type { Admission, Gate } from "../Gate.ts"
import type * as Job from "../Job.ts"
import { Credit, type Granted } from "./internal/credit.ts"

/**
 * A rate. `token-bucket` (the default) lets `limit` jobs start at once and refills evenly, `limit` per `window`;
 * `fixed-window` counts, and starts anew when its window has passed.
 *
 * @category models
 * @since 0.1.0
 */
export interface Rate {
  /** jobs per window; a whole number from 1 */
  readonly limit: number
  readonly window: Duration.Input
  readonly algorithm?: "token-bucket" | "fixed-window" | undefined
}

/**
 * The limiter with its store in memory, for this process.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerMemory: Layer.Layer<RateLimiter.RateLimiter> = RateLimiter.layer.pipe(
  Layer.provide(RateLimiter.layerStoreMemory)
)

/** how long to wait for a store that does not answer, in milliseconds */
const storeBackOff = 1_000

/**
 * A limit for everything that goes through this gate, and through every other one with the same `key` and the same store
 * (`windlass` unless set). When the store fails nothing starts: that is logged, and tried again every second. Throws a
 * `RangeError` when the rate cannot work.
 *
 * @category constructors
 * @since 0.1.0
 */
export const gate = (options: Rate & { readonly key?: string | undefined; readonly name?: string | undefined }): Gate<
  RateLimiter.RateLimiter
> => {
  const rate = checked(options)
  const name = options.name ?? "windlass/RateLimit"
  const key = options.key ?? "windlass"
  const credit = new Credit(rate.refillMillis)
  const some = Latch.makeUnsafe(false)

  /** Tokens go into the credit first and are taken out in one step, so that an interruption in between loses none. */
  const acquire = (max: number): Effect.Effect<number, never, RateLimiter.RateLimiter> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const taken = credit.take(max, now)
      return taken > 0 ? Effect.succeed(taken) : Effect.andThen(fill(max), acquire(max))
    })

  const fill = (max: number) =>
    Effect.uninterruptibleMask((restore) =>
      Effect.flatMap(consume(rate, key, Math.min(max, rate.limit)), (answer) => {
        if (answer._tag === "Granted") return Effect.sync(() => credit.add(answer))
        const wait = restore(Effect.raceFirst(Effect.sleep(answer.millis), some.await))
        return answer._tag === "Exceeded" ? wait : Effect.andThen(warn(name, answer.error), wait)
      })
    )

  return {
    name,
    acquire,
    release: (count, started) =>
      started ? Effect.void : Effect.map(Clock.currentTimeMillis, (now) => {
        credit.giveBack(count, now)
        some.openUnsafe() // whoever waits looks again
        some.closeUnsafe()
      })
  }
}

/**
 * A limit per key. A job whose key is over its rate goes back to the front of its queue until a token is there again, no
 * attempt spent; one without a key passes. When the store fails jobs go back for a second, which is logged. Throws a
 * `RangeError` when the rate cannot work.
 *
 * @category constructors
 * @since 0.1.0
 */
export const byKey = (
  options: Rate & {
    readonly key: (job: Job.Info) => string | undefined
    /** put before every key, so that two gates on one store stay apart; the gate's name unless set */
    readonly prefix?: string | undefined
    readonly name?: string | undefined
  }
): Gate<RateLimiter.RateLimiter> => {
  const rate = checked(options)
  const name = options.name ?? "windlass/RateLimit/byKey"
  const prefix = options.prefix ?? name
  const credits = new Map<string, Credit>()
  /** keys come and go: from time to time those that have nothing left are forgotten */
  let sweepAt = 1_000
  const creditOf = (key: string, now: number): Credit => {
    let credit = credits.get(key)
    if (credit !== undefined) return credit
    if (credits.size >= sweepAt) {
      for (const [other, its] of credits) if (its.isEmpty(now)) credits.delete(other)
      sweepAt = Math.max(1_000, 2 * credits.size)
    }
    credits.set(key, credit = new Credit(rate.refillMillis))
    return credit
  }
  const admitted = (key: string): Admission => {
    let open = true
    return {
      _tag: "Admitted",
      release: (started) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          if (open && !started) creditOf(key, now).giveBack(1, now)
          open = false
        })
    }
  }
  const admit = (key: string): Effect.Effect<Admission, never, RateLimiter.RateLimiter> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const credit = creditOf(key, now)
      if (credit.take(1, now) === 1) return Effect.succeed(admitted(key))
      return Effect.uninterruptible(Effect.flatMap(consume(rate, `${prefix}:${key}`, 1), (answer) => {
        switch (answer._tag) {
          case "Granted":
            credit.add(answer)
            return admit(key)
          case "Exceeded":
            return Effect.succeed<Admission>({ _tag: "Later", millis: answer.millis })
          case "Failed":
            return Effect.as(warn(name, answer.error), { _tag: "Later", millis: answer.millis } as const)
        }
      }))
    })
  return {
    name,
    admit: (job) => {
      const key = options.key(job)
      return key === undefined ? Effect.succeed({ _tag: "Admitted", release: () => Effect.void }) : admit(key)
    }
  }
}

type Answer =
  | ({ readonly _tag: "Granted" } & Granted)
  | { readonly _tag: "Exceeded"; readonly millis: number }
  | { readonly _tag: "Failed"; readonly millis: number; readonly error: RateLimiter.RateLimiterError }

interface Checked {
  readonly limit: number
  readonly window: Duration.Duration
  readonly algorithm: "token-bucket" | "fixed-window"
  readonly refillMillis: number | undefined
}

/** Up to `tokens` at once: all of them, or half, or a quarter, ... because the limiter gives all or nothing. */
const consume = (rate: Checked, key: string, tokens: number): Effect.Effect<Answer, never, RateLimiter.RateLimiter> =>
  Effect.flatMap(RateLimiter.RateLimiter, (limiter) => {
    const { algorithm, limit, window } = rate
    return Effect.matchEffect(limiter.consume({ algorithm, limit, window, key, tokens, onExceeded: "fail" }), {
      onSuccess: ({ remaining, resetAfter }) =>
        Effect.map(Clock.currentTimeMillis, (at): Answer => ({
          _tag: "Granted",
          tokens,
          missing: limit - remaining,
          at,
          resetAfter: Duration.toMillis(resetAfter)
        })),
      onFailure: (error): Effect.Effect<Answer, never, RateLimiter.RateLimiter> => {
        const { reason } = error
        if (reason._tag !== "RateLimitExceeded") return Effect.succeed({ _tag: "Failed", millis: storeBackOff, error })
        if (tokens > 1) return consume(rate, key, Math.floor(tokens / 2))
        return Effect.succeed({
          _tag: "Exceeded",
          millis: Math.max(1, Math.ceil(Duration.toMillis(reason.retryAfter)))
        })
      }
    })
  })

const warn = (name: string, error: RateLimiter.RateLimiterError) =>
  Effect.logWarning(`gate ${name} cannot ask its store and lets nothing start`, error)

const checked = (rate: Rate): Checked => {
  const window = Duration.fromInputUnsafe(rate.window)
  const millis = Duration.toMillis(window)
  if (!Number.isInteger(rate.limit) || rate.limit < 1) {
    throw new RangeError(`a rate limit needs a whole number of jobs from 1, got ${rate.limit}`)
  }
  if (!(millis >= 1) || millis === Infinity) {
    throw new RangeError(`a rate limit needs a window from 1 ms, got ${millis} ms`)
  }
  const algorithm = rate.algorithm ?? "token-bucket"
  return {
    limit: rate.limit,
    window,
    algorithm,
    refillMillis: algorithm === "token-bucket" ? millis / rate.limit : undefined
  }
}
