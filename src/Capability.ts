/**
 * What only some engines can do, one service key each. A backend's layer outputs the set that it has; an option that
 * needs one adds it to `R`; so an option that the backend lacks does not compile. Emulation exists only as a layer with
 * a name.
 *
 * All times are milliseconds since the epoch, all durations milliseconds.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Option from "effect/Option"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { BackendError, Destination, Envelope, Item, Published, Receipt, Settled, Settlement } from "./Backend.ts"

/**
 * Jobs may be enqueued for later.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Delay extends Context.Service<Delay, {
  /** how exact the due time is kept, in milliseconds */
  readonly granularityMillis: number
}>()("windlass/Capability/Delay") {}

/**
 * Jobs may overtake others.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Priority extends Context.Service<Priority, {
  readonly min: number
  readonly max: number
}>()("windlass/Capability/Priority") {}

/**
 * At most one live job per key.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Unique extends Context.Service<Unique, {
  readonly scopes: ReadonlyArray<"started" | "finished" | "window">
}>()("windlass/Capability/Unique") {}

/**
 * Jobs of one group run one at a time, in order.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Groups extends Context.Service<Groups, {
  readonly ordered: boolean
}>()("windlass/Capability/Groups") {}

/**
 * A group may have a limit above one: so many of its jobs run at once, over all workers, and start in order.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class GroupLimit extends Context.Service<GroupLimit, {
  /** the highest limit that a group can have */
  readonly max: number
}>()("windlass/Capability/GroupLimit") {}

/**
 * A batch is stored whole or not at all.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class AtomicBatch extends Context.Service<AtomicBatch, {
  readonly max: number
}>()("windlass/Capability/AtomicBatch") {}

/**
 * `Delivery.attempt` and `Delivery.unsettled` are exact, not estimates.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class ExactAttempts extends Context.Service<ExactAttempts, Record<never, never>>()(
  "windlass/Capability/ExactAttempts"
) {}

/**
 * An enqueue joins the caller's database transaction, and so can the settlement of a delivery.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Transactional extends Context.Service<Transactional, {
  readonly joins: "SqlClient"
  /** whether the caller is in a transaction that an enqueue would join */
  readonly isOpen: Effect.Effect<boolean>
  /** runs an effect in a transaction of the client that enqueues join; its failure rolls the transaction back */
  readonly transaction: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E | BackendError, R>
  /**
   * settles a delivery in the transaction that is open. `Lost`: the transaction must fail, somebody else owns the job.
   * Once it is committed the job is over, whatever happens to its run: `extend` goes on holding the receipt, a later
   * `Complete` with it is answered `Settled`, any other settlement `Lost`
   */
  readonly settle: (receipt: Receipt, settlement: Settlement) => Effect.Effect<Settled, BackendError>
}>()("windlass/Capability/Transactional") {}

/**
 * How a job ended. `exit` is what the worker encoded with the task's schemas.
 *
 * @category models
 * @since 0.1.0
 */
export interface Result {
  readonly state: "succeeded" | "discarded" | "aborted" | "dead"
  readonly reason: string | undefined
  readonly exit: string | undefined
}

/**
 * What a job came to can be waited for (`Task.execute`). Kept for as long as the publish asked (`Item.keepResult`).
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Results extends Context.Service<Results, {
  readonly poll: (id: string) => Effect.Effect<Option.Option<Result>, BackendError>
  /** interruptible; waits for as long as it takes */
  readonly await: (id: string) => Effect.Effect<Result, BackendError>
}>()("windlass/Capability/Results") {}

/**
 * Where a job stands. `blocked`: ready, but its group lets no more run now, or others of it are before it.
 *
 * @category models
 * @since 0.1.0
 */
export type State =
  | "scheduled"
  | "ready"
  | "blocked"
  | "active"
  | "succeeded"
  | "discarded"
  | "aborted"
  | "dead"

/**
 * One line of a job's persisted history.
 *
 * @category models
 * @since 0.1.0
 */
export interface HistoryEvent {
  readonly at: number
  readonly event:
    | "enqueued"
    | "failed"
    | "snoozed"
    | "interrupted"
    | "released"
    | "lost"
    | "unknown"
    | "succeeded"
    | "discarded"
    | "aborted"
    | "cancelled"
    | "dead"
    | "redriven"
  readonly attempt: number
  readonly worker: string | undefined
  readonly detail: string | undefined
}

/**
 * A job as the backend sees it.
 *
 * @category models
 * @since 0.1.0
 */
export interface JobRecord {
  readonly envelope: Envelope
  readonly queue: string
  readonly state: State
  /** the attempt that is running or comes next; for an ended job the last one */
  readonly attempt: number
  readonly priority: number
  readonly group: string | undefined
  readonly uniqueKey: string | undefined
  readonly enqueuedAt: number
  readonly dueAt: number | undefined
  readonly claimedAt: number | undefined
  readonly finishedAt: number | undefined
  readonly worker: string | undefined
  /** reason of a dead letter, of a discard or of an abort */
  readonly reason: string | undefined
  readonly error: string | undefined
  readonly exit: string | undefined
  /** what the handler last reported with `Job.progress`, as JSON */
  readonly progress: string | undefined
  readonly history: ReadonlyArray<HistoryEvent>
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  readonly ready: number
  readonly scheduled: number
  readonly active: number
  readonly dead: number
}

/**
 * Looking at jobs, and durable data of a running job.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Inspect extends Context.Service<Inspect, {
  readonly get: (id: string) => Effect.Effect<Option.Option<JobRecord>, BackendError>
  /** pages through the jobs of a queue, oldest first; a job that moves meanwhile may be missed or seen twice */
  readonly list: (options: {
    readonly queue: string
    readonly states?: ReadonlyArray<State> | undefined
    readonly task?: string | undefined
  }) => Stream.Stream<JobRecord, BackendError>
  readonly counts: (queue: string) => Effect.Effect<Counts, BackendError>
  /** every queue that holds or held a job */
  readonly queues: Effect.Effect<ReadonlyArray<string>, BackendError>
  /** stores the progress of a running job (JSON); `Lost` when the receipt is stale */
  readonly progress: (receipt: Receipt, value: string) => Effect.Effect<"Stored" | "Lost", BackendError>
}>()("windlass/Capability/Inspect") {}

/**
 * Taking a job back. A waiting job is ended at once (`Cancelled`); a running one is asked to stop (`Requested`) and is
 * never retried after that.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Cancel extends Context.Service<Cancel, {
  readonly request: (id: string) => Effect.Effect<"Cancelled" | "Requested" | "TooLate" | "NotFound", BackendError>
}>()("windlass/Capability/Cancel") {}

/**
 * A paused queue takes jobs in and hands none out. Survives restarts where the engine does.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Pause extends Context.Service<Pause, {
  readonly set: (queue: string, paused: boolean) => Effect.Effect<void, BackendError>
  readonly get: (queue: string) => Effect.Effect<boolean, BackendError>
}>()("windlass/Capability/Pause") {}

/**
 * One holder per name at a time, among all processes. `epoch` grows with every new holder. The scope's end gives it up.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Leader extends Context.Service<Leader, {
  /** waits until this process holds the name; interruptible */
  readonly hold: (name: string) => Effect.Effect<{ readonly epoch: number }, BackendError, Scope.Scope>
}>()("windlass/Capability/Leader") {}

/**
 * What came of moving a cursor. `Stale`: it did not stand where the caller thought, nothing was stored; `at` is where it
 * stands (undefined: it was never set).
 *
 * @category models
 * @since 0.1.0
 */
export type Advanced =
  | { readonly _tag: "Advanced"; readonly published: ReadonlyArray<Published> }
  | { readonly _tag: "Stale"; readonly at: number | undefined }

/**
 * A named time of a queue, kept for good, that moves in one step with a publish: what makes a recurring tick come once,
 * however many processes look at the clock.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Cursor extends Context.Service<Cursor, {
  /** where it stands; undefined when it was never set */
  readonly get: (queue: string, name: string) => Effect.Effect<number | undefined, BackendError>
  /**
   * Moves the cursor from where it stands (`from`; undefined when it was never set) to `to`, a whole number, and
   * publishes the items (none is fine) to its queue: both or neither. Items that are duplicates are answered as
   * `publish` answers them, and the cursor moves. Asking again after an unknown outcome is safe: it is `Stale` at `to`
   */
  readonly advance: (
    cursor: { readonly queue: string; readonly name: string; readonly from: number | undefined; readonly to: number },
    items: ReadonlyArray<Item>
  ) => Effect.Effect<Advanced, BackendError>
  /** as if these cursors of the queue had never been set; for names that are used once */
  readonly forget: (queue: string, names: ReadonlyArray<string>) => Effect.Effect<void, BackendError>
}>()("windlass/Capability/Cursor") {}

/**
 * Jobs that ended as dead are kept and can be run again with their history. A redriven job starts at attempt 1.
 *
 * @category capabilities
 * @since 0.1.0
 */
export class DeadLetter extends Context.Service<DeadLetter, {
  readonly list: (queue: string) => Stream.Stream<JobRecord, BackendError>
  /** puts one dead job back into its queue; false when there is no dead job with this id */
  readonly retry: (id: string) => Effect.Effect<boolean, BackendError>
  /** puts back all dead jobs of a queue, or those of one task or reason; returns how many */
  readonly redrive: (
    queue: string,
    options?: { readonly task?: string | undefined; readonly reason?: string | undefined }
  ) => Effect.Effect<number, BackendError>
  /** forgets the dead jobs of a queue that are older than so many milliseconds (all of them when absent) */
  readonly purge: (
    queue: string,
    options?: { readonly olderThanMillis?: number | undefined }
  ) => Effect.Effect<number, BackendError>
}>()("windlass/Capability/DeadLetter") {}

/**
 * A job that goes back may go to another queue, priority or group, in the same step (`Settlement.Retry.to`).
 *
 * @category capabilities
 * @since 0.1.0
 */
export class Reroute extends Context.Service<Reroute, {
  /**
   * Comes before a settlement that names the destination: makes the queue if the engine needs that, and fails when a job
   * of `queue` cannot go there (a priority out of range, a queue in another slot of a cluster). Idempotent
   */
  readonly prepare: (queue: string, to: Destination) => Effect.Effect<void, BackendError>
}>()("windlass/Capability/Reroute") {}

/**
 * Every capability but `Transactional`: what the memory backend has.
 *
 * @category models
 * @since 0.1.0
 */
export type AllButTransactional =
  | Delay
  | Priority
  | Unique
  | Groups
  | GroupLimit
  | AtomicBatch
  | ExactAttempts
  | Results
  | Inspect
  | Cancel
  | Pause
  | Leader
  | Cursor
  | DeadLetter
  | Reroute
