/**
 * The contract of a queue backend: the small core that every engine can keep. What only some engines can do is a
 * service key of its own in `Capability`. A backend is untyped on purpose: schemas, retries and middleware live above
 * it, and all that it stores of a job is an {@link Envelope}.
 *
 * All times are milliseconds since the epoch, all durations milliseconds.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Stream from "effect/Stream"

/**
 * Who asked for the job: a caller, a recurring tick, or a handler that was running another job.
 *
 * @category models
 * @since 0.1.0
 */
export type Origin = "user" | "cron" | "handler"

/**
 * What is stored of a job. A retry moves the stored envelope; it is never written again.
 *
 * @category models
 * @since 0.1.0
 */
export interface Envelope {
  /**
   * made by the producer (UUIDv7, or the caller's own). While the engine has a job with this id that has not ended, or a
   * dead letter, another one is a `Duplicate`: publishing it again after an unknown outcome stores it once as long as the
   * first has not ended. What must hold for longer is a unique key with a time of its own (`Uniqueness.until`)
   */
  readonly id: string
  readonly task: string
  /** version of the payload's schema, from 1 */
  readonly version: number
  /** the encoded payload; the backend never looks inside */
  readonly payload: string
  readonly headers: Readonly<Record<string, string>>
  readonly origin: Origin
}

/**
 * When a job becomes claimable: so many milliseconds from now on the engine's clock, or at a time.
 *
 * @category models
 * @since 0.1.0
 */
export type Due =
  | { readonly _tag: "After"; readonly millis: number }
  | { readonly _tag: "At"; readonly time: number }

/**
 * At most one live job per key and queue: until it was claimed first, until it is finished, or for so many
 * milliseconds from the enqueue.
 *
 * @category models
 * @since 0.1.0
 */
export interface Uniqueness {
  readonly key: string
  readonly until: "started" | "finished" | { readonly millis: number }
}

/**
 * One job to publish. What a capability adds is an optional field, so that options compose.
 *
 * @category models
 * @since 0.1.0
 */
export interface Item {
  readonly envelope: Envelope
  /** `Delay` */
  readonly due?: Due | undefined
  /** `Priority`: higher first, 0 when absent */
  readonly priority?: number | undefined
  /** `Unique` */
  readonly unique?: Uniqueness | undefined
  /**
   * `Groups`: jobs of one group start in order (priority, then age), as many at a time as the group's limit says. A member
   * keeps its place over retries, and one that is scheduled holds its slot when its turn has come: with a limit of one it
   * holds all others
   */
  readonly group?: string | undefined
  /**
   * `GroupLimit`: how many members of the group may run at once over all workers, from now on and for those that wait
   * already: what the last stored job of the group said counts. A whole number from 1 to 2,147,483,647; 1 when absent. Means
   * nothing without `group`. Kept with the job, for when it comes back to a group that nobody is in
   */
  readonly groupLimit?: number | undefined
  /** `Results`: keep what the job came to for so many milliseconds after its end */
  readonly keepResult?: number | undefined
}

/**
 * What became of one published item. `Duplicate` names the live job that has the same id or unique key. `Skipped`: the
 * batch was atomic and another item of it was a duplicate, so nothing was stored.
 *
 * @category models
 * @since 0.1.0
 */
export type Published =
  | { readonly _tag: "Stored" }
  | { readonly _tag: "Duplicate"; readonly existing: string }
  | { readonly _tag: "Skipped" }

/**
 * The right to settle one delivery: the job's id and the fence, a token that is never used twice for one job.
 * Opaque to everybody but the backend that made it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Receipt {
  readonly id: string
  readonly fence: unknown
}

/**
 * One hand-out of a job to a worker.
 *
 * @category models
 * @since 0.1.0
 */
export interface Delivery {
  readonly envelope: Envelope
  readonly receipt: Receipt
  readonly queue: string
  /** number of this attempt, from 1: one more than the attempts that were spent before it */
  readonly attempt: number
  /** consecutive earlier deliveries of this job that ended with no settlement at all; any settlement but an `unbegun` one resets it */
  readonly unsettled: number
  /** set when this hand-out was reclaimed from an owner that was lost, or went back since with nothing of it run */
  readonly lostFrom: { readonly worker: string; readonly claimedAt: number } | undefined
  /** on the engine's clock */
  readonly enqueuedAt: number | undefined
  /** when it became claimable, if it was delayed on purpose at its enqueue */
  readonly scheduledFor: number | undefined
  /** when the first failed attempt was settled, on the engine's clock */
  readonly firstFailedAt: number | undefined
  readonly priority: number
  readonly group: string | undefined
  /** an abort of this job was requested before this hand-out */
  readonly abortRequested: boolean
  /** whether somebody wants the encoded exit (`Item.keepResult`, or a retention that keeps it): else it is not made */
  readonly keepsResult: boolean
}

/**
 * Where a job goes on: what is absent stays as it is. A group goes along to another queue, where it is that queue's.
 *
 * @category models
 * @since 0.1.0
 */
export interface Destination {
  readonly queue?: string | undefined
  readonly priority?: number | undefined
  /** null: out of its group */
  readonly group?: string | null | undefined
}

/**
 * What the backend is told about a delivery, once.
 *
 * - `Complete`: the job is over. Frees its unique key, its group, keeps the result if that was asked for.
 * - `Retry`: it goes back: to the end of its queue or to the front, after so many milliseconds. `spent` counts the
 *   attempt. The unique key is kept.
 * - `Dead`: it moves to the dead letters with its history.
 *
 * @category models
 * @since 0.1.0
 */
export type Settlement = Settlement.Complete | Settlement.Retry | Settlement.Dead

/**
 * @since 0.1.0
 */
export declare namespace Settlement {
  /**
   * @category models
   * @since 0.1.0
   */
  export interface Complete {
    readonly _tag: "Complete"
    readonly how: "succeeded" | "discarded" | "aborted"
    /** the encoded exit of the job, for `Results` and for the history; absent when nobody asked for it */
    readonly exit: string | undefined
    /** why it was discarded or aborted */
    readonly reason: string | undefined
  }
  /**
   * @category models
   * @since 0.1.0
   */
  export interface Retry {
    readonly _tag: "Retry"
    readonly why: "failed" | "snoozed" | "interrupted" | "released" | "lost" | "unknown"
    /** milliseconds until it is claimable again */
    readonly after: number
    readonly attempt: "spent" | "kept"
    readonly place: "back" | "front"
    /** one line for the history */
    readonly error: string | undefined
    /**
     * nothing of the job has run: what is known of owners that were lost with it (`Delivery.unsettled` and `lostFrom`) stays
     * as it is, and a key that its claim gave back is its again, unless another job has it. Absent: neither
     */
    readonly unbegun?: boolean | undefined
    /**
     * `Reroute`: it goes back there instead, in the same step. The place that it leaves goes to the next of its old group;
     * in another queue or group it is the youngest, so `place` is `back`. A unique key that it holds comes along, unless
     * another job has it there. A queue that already has a job of this id keeps this one out: it stays where it is. Was
     * it asked to abort, it goes nowhere
     */
    readonly to?: Destination | undefined
  }
  /**
   * @category models
   * @since 0.1.0
   */
  export interface Dead {
    readonly _tag: "Dead"
    /** one word that can be counted: `failed`, `decided`, `undecodable`, `poison`, `unknown-task`, ... */
    readonly reason: string
    readonly error: string | undefined
    readonly exit: string | undefined
  }
}

/**
 * What became of one settlement.
 *
 * - `Settled`: it took effect.
 * - `Aborted`: it was a `Retry` of a job whose abort had been requested, so the job was completed as aborted instead.
 * - `Lost`: somebody else owns the job now, or it is gone; nothing changed.
 * - `Unknown`: the engine did not say (per-entry failures of SQS). The worker tries again while its lease lasts.
 *
 * @category models
 * @since 0.1.0
 */
export type Settled = "Settled" | "Aborted" | "Lost" | "Unknown"

/**
 * What the owner of a lease learns when it renews it. `Abort`: still held, and an abort of the job was requested.
 *
 * @category models
 * @since 0.1.0
 */
export type Held = "Held" | "Abort" | "Lost"

/**
 * How long a delivery stays with its owner. `Timed` runs out unless it is extended, per job; `Connection` ends with the
 * connection, so there is nothing to extend.
 *
 * @category models
 * @since 0.1.0
 */
export type Lease =
  | {
    readonly _tag: "Timed"
    readonly millis: number
    readonly extend: (receipts: ReadonlyArray<Receipt>) => Effect.Effect<ReadonlyArray<Held>, BackendError>
  }
  | { readonly _tag: "Connection" }

/**
 * A call to the engine failed. `retryable` says whether trying again can help; `outcome` whether the call may have taken
 * effect (`Unknown`) or certainly did not (`NotApplied`). `message` names both sides and the fix where there is one.
 *
 * @category errors
 * @since 0.1.0
 */
export class BackendError extends Schema.TaggedError<BackendError>()("windlass/BackendError", {
  backend: Schema.String,
  operation: Schema.String,
  message: Schema.String,
  retryable: Schema.Boolean,
  outcome: Schema.Literals(["NotApplied", "Unknown"]),
  cause: Schema.optional(Schema.Defect())
}) {}

/**
 * One worker's hold on one queue.
 *
 * @category models
 * @since 0.1.0
 */
export interface Subscription {
  readonly lease: Lease
  /** claims up to `max` jobs that are claimable now, best first; returns at once, with an empty array if there are none */
  readonly take: (max: number) => Effect.Effect<ReadonlyArray<Delivery>, BackendError>
  /** settles a batch; one answer per item, in order */
  readonly settle: (
    items: ReadonlyArray<readonly [Receipt, Settlement]>
  ) => Effect.Effect<ReadonlyArray<Settled>, BackendError>
  /** settles one batch and takes the next in one round trip. What is settled here is visible to the claim */
  readonly exchange: (
    items: ReadonlyArray<readonly [Receipt, Settlement]>,
    max: number
  ) => Effect.Effect<readonly [ReadonlyArray<Settled>, ReadonlyArray<Delivery>], BackendError>
  /**
   * how many calls of `take`, `settle` and `exchange` may be under way at the same time, for a worker whose free slots are
   * more than a batch carries; 1 when absent
   */
  readonly exchanges?: number | undefined
  /**
   * whether a worker whose jobs end as they start may claim more of them than it has slots: a call costs the engine much
   * whatever it carries, and a job that goes back `unbegun` is as if it had never been claimed; no when absent
   */
  readonly claimAhead?: boolean | undefined
  /**
   * Returns when a `take` may find something; a false alarm is allowed, sleeping through work is not: a job that became
   * claimable after the last `take` wakes it. Interruptible at any point, and then nothing is held. An engine that can
   * receive only by waiting (SQS) receives up to `max` here and keeps them for the next `take`.
   */
  readonly await: (max: number) => Effect.Effect<void, BackendError>
  /**
   * the longest that a worker may wait in `await` before it looks again, in milliseconds, because a hint can be missed
   * (another process published); undefined when `await` never misses
   */
  readonly pollMillis: number | undefined
  /** ids of running jobs whose abort was requested: a hint that makes it quick; the lease's `extend` is the guarantee */
  readonly aborts: Stream.Stream<string> | undefined
}

/**
 * What an engine can carry. A need above it fails with a typed error: at start-up where a task declares it, per call
 * otherwise.
 *
 * @category models
 * @since 0.1.0
 */
export interface Limits {
  /** size of one encoded envelope (payload and headers), in bytes of UTF-8 */
  readonly payloadBytes: number
  /** longest delay, in milliseconds */
  readonly delayMillis: number
  readonly publishBatch: number
  readonly takeBatch: number
  readonly settleBatch: number
}

/**
 * @category models
 * @since 0.1.0
 */
export interface Shape {
  /** the engine's name, for errors, spans and `describe`: `memory`, `sqlite`, ... */
  readonly name: string
  readonly limits: Limits
  /** `weak`: a late settlement by a stale owner may still take effect (SQS standard, NATS): said, not hidden */
  readonly fence: "strict" | "weak"
  /** makes the queue if the engine needs that, checks the server's version and limits; idempotent */
  readonly declare: (queue: string) => Effect.Effect<void, BackendError>
  /**
   * Stores a batch; durable when it returns. One answer per item, in order. With `atomic` (`AtomicBatch`) a duplicate
   * means that none of the batch is stored.
   */
  readonly publish: (
    queue: string,
    items: ReadonlyArray<Item>,
    options?: { readonly atomic?: boolean | undefined }
  ) => Effect.Effect<ReadonlyArray<Published>, BackendError>
  /** the scope's end gives up the subscription; deliveries that were not settled stay leased until their lease ends */
  readonly subscribe: (
    queue: string,
    options: {
      readonly worker: string
      /**
       * a claim that returns nothing has looked at everything: for a worker that ends when nothing is left. An engine
       * whose claims begin where the last one ended need not do that otherwise
       */
      readonly thorough?: boolean | undefined
    }
  ) => Effect.Effect<Subscription, BackendError, Scope.Scope>
  /** a cheap question that only a working engine answers */
  readonly ping: Effect.Effect<void, BackendError>
}

/**
 * The queue that a program uses. `main` picks one by providing its layer; nothing else changes.
 *
 * @category services
 * @since 0.1.0
 */
export class Backend extends Context.Service<Backend, Shape>()("windlass/Backend") {}
