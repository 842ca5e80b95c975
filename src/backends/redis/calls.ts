/**
 * Everything that goes to the server goes through here: commands and scripts, each with a limit of time.
 *
 * A call that was sent is not given up when its fiber is interrupted: a claim whose answer nobody reads would hand out
 * jobs to nobody. So calls are uninterruptible, and bounded.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Redis from "effect/persistence/Redis"
import type { BackendError } from "../../Backend.ts"
import { codeOf, fromCause, silence } from "./errors.ts"
import { Keys } from "./keys.ts"
import { type Script, scripts } from "./scripts.ts"

export interface CallSettings {
  readonly name: string
  readonly prefix: string
  /** milliseconds that a call may take */
  readonly timeout: number
  /** milliseconds */
  readonly lease: number
  readonly retention: { readonly failures: number; readonly successes: number }
}

type Service = Redis.Redis["Service"]

export class Calls {
  readonly redis: Service
  readonly name: string
  readonly keys: Keys
  readonly timeout: number
  private readonly common: ReadonlyArray<string>
  /** the server's clock less this process's monotonic one, in milliseconds */
  private offset: number | undefined

  constructor(redis: Service, settings: CallSettings) {
    this.redis = redis
    this.name = settings.name
    this.keys = new Keys(settings.prefix)
    this.timeout = settings.timeout
    this.common = [settings.lease, settings.retention.failures, settings.retention.successes].map(String)
  }

  /** the server's time, as an answer that just came says */
  clockSeen(now: number): void {
    this.offset = now - performance.now()
  }

  /** when, by the server's clock, a call that is made now is given up; 0 when its clock was never seen */
  get until(): number {
    return this.offset === undefined ? 0 : Math.ceil(this.offset + performance.now() + this.timeout)
  }

  /** a command, on the connection that all calls share */
  send<A>(operation: string, command: string, ...args: ReadonlyArray<string>): Effect.Effect<A, BackendError> {
    return this.bounded(operation, this.redis.send<A>(command, ...args))
  }

  /**
   * a script of a queue, which gets all keys of the queue and what all scripts need; where it also moves jobs to other
   * queues, their keys after those. `sent`: it is on its way, and what is sent from now on comes after it
   */
  run<A>(
    operation: string,
    name: keyof typeof scripts,
    queue: string,
    args: ReadonlyArray<string>,
    others: ReadonlyArray<string> = [],
    sent?: () => void
  ): Effect.Effect<A, BackendError> {
    const own = this.keys.ofQueue(queue)
    const keys = others.length === 0 ? own : [...own, ...others.flatMap((other) => this.keys.ofQueue(other))]
    return this.eval(operation, scripts[name], keys, [
      this.keys.channel,
      queue,
      ...this.common,
      ...args
    ], sent)
  }

  eval<A>(
    operation: string,
    { lua, sha }: Script,
    keys: ReadonlyArray<string>,
    args: ReadonlyArray<string>,
    sent?: () => void
  ): Effect.Effect<A, BackendError> {
    const rest = [String(keys.length), ...keys, ...args]
    return this.bounded(
      operation,
      Effect.catch(
        this.redis.send<A>("EVALSHA", sha, ...rest),
        // it ran nothing; the whole script does it, and the server knows it from then on
        (error) => codeOf(error) === "NOSCRIPT" ? this.redis.send<A>("EVAL", lua, ...rest) : Effect.fail(error)
      ),
      sent
    )
  }

  private bounded<A>(
    operation: string,
    effect: Effect.Effect<A, Redis.RedisError>,
    sent?: () => void
  ): Effect.Effect<A, BackendError> {
    const { name, timeout } = this
    return Effect.uninterruptible(Effect.contextWith((context) =>
      Effect.callback<A, BackendError>((resume) => {
        const timer = setTimeout(() => resume(Effect.fail(silence(name, operation, timeout))), timeout)
        const fiber = Effect.runForkWith(context)(effect)
        fiber.addObserver((exit) => {
          clearTimeout(timer)
          resume(
            Exit.isSuccess(exit)
              ? Effect.succeed(exit.value)
              : Effect.mapError(Effect.failCause(exit.cause), (error) => fromCause(name, operation, error))
          )
        })
        sent?.()
      })
    ))
  }
}
