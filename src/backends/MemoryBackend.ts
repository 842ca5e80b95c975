/**
 * A queue in the memory of the process: for tests, and for work that may be lost with the process. It has every
 * capability but `Transactional`, and takes its time from the `Clock` that is in force when its layer is built, so that
 * `TestClock` drives it and no real time passes.
 *
 * @since 0.1.0
 */
import * as Clock from "effect/Clock"
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { Backend, type Limits } from "../Backend.ts"
import * as Capability from "../Capability.ts"
import { maxGroupLimit } from "./internal/groupLimit.ts"
import * as abilities from "./memory/abilities.ts"
import { core } from "./memory/core.ts"
import * as demand from "./memory/demand.ts"
import { Engine } from "./memory/engine.ts"
import { only, type Profile, profiles, type Rules, type ServicesOf } from "./memory/profiles.ts"

/**
 * - `lease`: how long a delivery stays with its owner unless it is extended; 30 seconds when absent.
 * - `name`: what the backend calls itself in errors, spans and `describe`; `memory` when absent.
 * - `limits`: what it carries. When absent: 1 MiB per encoded job, 10,000 per batch, any delay.
 * - `retention`: how long an ended job stays inspectable. `failures` (dead and aborted jobs): 7 days when absent.
 *   `successes` (succeeded and discarded jobs): not at all when absent. A job whose result was asked for stays at least
 *   as long as its result.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  readonly lease?: Duration.Input | undefined
  readonly name?: string | undefined
  readonly limits?: Partial<Limits> | undefined
  readonly retention?: {
    readonly failures?: Duration.Input | undefined
    readonly successes?: Duration.Input | undefined
  } | undefined
}

/**
 * What the options are when they are absent.
 *
 * @category models
 * @since 0.1.0
 */
export const defaults = {
  lease: Duration.seconds(30),
  name: "memory",
  limits: {
    payloadBytes: 1024 * 1024,
    delayMillis: Infinity,
    publishBatch: 10_000,
    takeBatch: 10_000,
    settleBatch: 10_000
  },
  retention: { failures: Duration.days(7), successes: Duration.zero }
} as const

/**
 * What the layers of this module supply.
 *
 * @category models
 * @since 0.1.0
 */
export type Services = Backend | Capability.AllButTransactional

/**
 * The engines that the memory backend can pose as.
 *
 * @category models
 * @since 0.1.0
 */
export type Engines = keyof typeof profiles

/**
 * What the memory backend supplies when it poses as another engine: what that engine's layer supplies, but for
 * `Transactional`.
 *
 * @category models
 * @since 0.1.0
 */
export type As<Name extends Engines> = ServicesOf<(typeof profiles)[Name]["abilities"][number]>

const rules: Rules = { priorities: demand.priorities, groupLimit: true }

const make = (
  options: Options,
  posing: { readonly name: string; readonly limits: Limits; readonly rules: Rules } = { ...defaults, rules }
): Effect.Effect<Context.Context<Services>> =>
  Effect.map(Clock.clockWith(Effect.succeed), (clock) => {
    const name = options.name ?? posing.name
    const limits: Limits = { ...posing.limits, ...options.limits }
    const engine = new Engine({
      lease: Duration.toMillis(options.lease ?? defaults.lease),
      keepFailures: Duration.toMillis(options.retention?.failures ?? defaults.retention.failures),
      keepSuccesses: Duration.toMillis(options.retention?.successes ?? defaults.retention.successes)
    })
    const backend = core(engine, clock, name, limits, posing.rules)
    return Context.make(Backend, backend).pipe(
      Context.add(Capability.Delay, { granularityMillis: posing.rules.granularityMillis ?? 1 }),
      Context.add(Capability.Priority, posing.rules.priorities),
      Context.add(Capability.Unique, { scopes: ["started", "finished", "window"] }),
      Context.add(Capability.Groups, { ordered: true }),
      Context.add(Capability.GroupLimit, { max: maxGroupLimit }),
      Context.add(Capability.AtomicBatch, { max: limits.publishBatch }),
      Context.add(Capability.ExactAttempts, {}),
      Context.add(Capability.Results, abilities.results(engine, clock)),
      Context.add(Capability.Inspect, abilities.inspect(engine, clock)),
      Context.add(Capability.Cancel, abilities.cancel(engine, clock)),
      Context.add(Capability.Pause, abilities.pause(engine)),
      Context.add(Capability.Leader, abilities.leader()),
      Context.add(Capability.Cursor, abilities.cursor(engine, backend.publish)),
      Context.add(Capability.DeadLetter, abilities.deadLetter(engine, clock)),
      Context.add(Capability.Reroute, {
        prepare: (_, to) => {
          const refused = demand.rerouteRefused(name, posing.rules, to)
          return refused === undefined ? Effect.void : Effect.fail(refused)
        }
      })
    )
  })

/**
 * The memory backend with options. Each build of the layer is a queue system of its own.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerWith = (options: Options): Layer.Layer<Services> => Layer.effectContext(make(options))

/**
 * As `layerWith`, with options that are read from the configuration.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (options: Config.Wrap<Options>): Layer.Layer<Services, Config.ConfigError> =>
  Layer.effectContext(Effect.flatMap(Config.unwrap(options), (options) => make(options)))

/**
 * The memory backend as it is by default.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Services> = layerWith({})

/**
 * The memory backend posing as another engine, so that a test fails where production would: it supplies the capabilities
 * that the engine has, so an option that the engine lacks does not compile, and carries what the engine carries by default
 * (`limits` for those who set others there): payload, delays, batches, priorities, granularity, the texts that it can store.
 * It calls itself by the engine's name. Jobs live in memory and time is the `Clock`'s all the same.
 *
 * A posed Postgres has no `Transactional`: there is no database whose transaction could be joined. What needs it does not
 * compile here, and is tested on the real one.
 *
 * ```ts
 * program.pipe(Effect.provide(MemoryBackend.as("postgres", { limits: { payloadBytes: 64 * 1024 } })))
 * ```
 *
 * @category layers
 * @since 0.1.0
 */
export const as = <const Name extends Engines>(engine: Name, options: Options = {}): Layer.Layer<As<Name>> => {
  const profile: Profile = profiles[engine]
  return Layer.effectContext(
    Effect.map(make(options, { name: engine, ...profile }), (context) => only(profile.abilities, Backend, context))
  )
}
