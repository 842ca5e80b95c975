/**
 * What other engines can do and what they carry, for a memory backend that poses as one of them. The engines' own modules
 * are not imported: their clients need not be installed. A test holds these facts against the real layers.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type { Backend, Limits } from "../../Backend.ts"
import * as Capability from "../../Capability.ts"

/** what an engine refuses beside its limits, and how exact it is */
export interface Rules {
  /** of the engine: strict when absent */
  readonly fence?: "weak" | undefined
  readonly priorities: { readonly min: number; readonly max: number }
  /** whether a group may have a limit above one */
  readonly groupLimit: boolean
  /** times are rounded up to so many milliseconds; kept as they are when absent */
  readonly granularityMillis?: number | undefined
  /** the last time that it can keep, in milliseconds since the epoch; any when absent */
  readonly lastTime?: number | undefined
  /** what it can store as a text, and as an id, a task, a group or a key, which it indexes; anything when absent */
  readonly texts?: {
    /** whether NUL and halves of surrogate pairs are refused in a payload */
    readonly wellFormed: true
    /** characters */
    readonly longestName: number
  } | undefined
}

/** what the memory engine has */
const keys = {
  Delay: Capability.Delay,
  Priority: Capability.Priority,
  Unique: Capability.Unique,
  Groups: Capability.Groups,
  GroupLimit: Capability.GroupLimit,
  AtomicBatch: Capability.AtomicBatch,
  ExactAttempts: Capability.ExactAttempts,
  Results: Capability.Results,
  Inspect: Capability.Inspect,
  Cancel: Capability.Cancel,
  Pause: Capability.Pause,
  Leader: Capability.Leader,
  Cursor: Capability.Cursor,
  DeadLetter: Capability.DeadLetter,
  Reroute: Capability.Reroute
}

export type Ability = keyof typeof keys

export interface Profile {
  readonly limits: Limits
  readonly abilities: ReadonlyArray<Ability>
  readonly rules: Rules
}

/** the last date of JavaScript */
const lastTime = 8_640_000_000_000_000

const hundredYears = 100 * 365.25 * 86_400_000

const limits: Limits = {
  payloadBytes: 1024 * 1024,
  delayMillis: hundredYears,
  publishBatch: 10_000,
  takeBatch: 10_000,
  settleBatch: 10_000
}

/** a message of 1 MiB, less what is written beside the job; a quarter of an hour */
const ofSqs: Limits = {
  payloadBytes: 1024 * 1024 - 8 * 1024,
  delayMillis: 900_000,
  publishBatch: 100,
  takeBatch: 100,
  settleBatch: 100
}

/** of the engines that have all that this one has */
const all = [
  "Delay",
  "Priority",
  "Unique",
  "Groups",
  "GroupLimit",
  "AtomicBatch",
  "ExactAttempts",
  "Results",
  "Inspect",
  "Cancel",
  "Pause",
  "Leader",
  "Cursor",
  "DeadLetter",
  "Reroute"
] as const satisfies ReadonlyArray<Ability>

export const profiles = {
  sqlite: {
    limits,
    abilities: all,
    rules: { priorities: { min: -32_768, max: 32_767 }, groupLimit: true, granularityMillis: 1, lastTime }
  },
  /** less `Transactional`: a transaction of a database that is not there cannot be joined */
  postgres: {
    limits,
    abilities: all,
    rules: {
      priorities: { min: -32_767, max: 32_767 },
      groupLimit: true,
      granularityMillis: 1,
      lastTime,
      texts: { wellFormed: true, longestName: 2_000 }
    }
  },
  redis: {
    limits: { ...limits, publishBatch: 1_000, takeBatch: 1_000, settleBatch: 1_000 },
    abilities: all,
    rules: { priorities: { min: -32_768, max: 32_767 }, groupLimit: true, granularityMillis: 1, lastTime }
  },
  /** standard queues */
  sqs: {
    limits: ofSqs,
    abilities: ["Delay"],
    rules: { fence: "weak", priorities: { min: 0, max: 0 }, groupLimit: false, granularityMillis: 1_000, lastTime }
  },
  "sqs-fifo": {
    limits: { ...ofSqs, delayMillis: 0 },
    abilities: ["Groups"],
    rules: { fence: "weak", priorities: { min: 0, max: 0 }, groupLimit: false, granularityMillis: 1_000, lastTime }
  }
} as const satisfies Record<string, Profile>

/** the services of a backend with these capabilities */
export type ServicesOf<A extends Ability> = Backend | Context.Service.Identifier<(typeof keys)[A]>

/** only what an engine with these capabilities has */
export const only = <const A extends Ability>(
  abilities: ReadonlyArray<A>,
  backend: Context.Key<Backend, Backend["Service"]>,
  context: Context.Context<Backend | Capability.AllButTransactional>
): Context.Context<ServicesOf<A>> =>
  Context.pick(backend, ...abilities.map((name): Context.Key<any, any> => keys[name]))(
    context
  ) as Context.Context<
    ServicesOf<A>
  >
