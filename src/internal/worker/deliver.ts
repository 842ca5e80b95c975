/**
 * One hand-out from its claim to its settlement: delivery point -> decode -> run chain -> outcome -> settlement. Total:
 * whatever happens inside, it ends with exactly one settlement (L13).
 */
import * as Cause from "effect/Cause"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import type { Delivery, Settlement } from "../../Backend.ts"
import { Died } from "../../Job.ts"
import type { DeliveryWrap } from "../../Middleware.ts"
import type { Outcome } from "../../Outcome.ts"
import { fromEnvelope } from "../codecs.ts"
import { describe } from "../line.ts"
import { whenOver } from "../over.ts"
import { decide, failed, interrupted } from "./decide.ts"
import type { Delivered } from "./delivered.ts"
import { delivered, elected, election } from "./elect.ts"
import { entered, layered } from "./layer.ts"
import type { Resolved } from "./resolve.ts"
import type { Run } from "./run.ts"

/** @internal */
export interface Limits {
  /** deliveries in a row without any settlement after which a job is poison */
  readonly poison: number
  /** milliseconds that a job may wait for a worker that knows its task */
  readonly unknownFor: number
}

interface Known extends Limits {
  /** the jobs that this worker met and does not know, by id */
  readonly unknown: Map<string, Met>
}

interface Met {
  /** when it was met first, milliseconds since the epoch */
  readonly at: number
  /** the hand-out in which it was given up */
  dead: Run | undefined
}

/**
 * A claimed job to its settlement. Called in `fiber`, which has to run what it returns at once, and once: the chain is
 * entered as it is called.
 *
 * @internal
 */
export type Deliver = (fiber: Fiber.Fiber<unknown, unknown>, job: Run) => Effect.Effect<Delivered>

/** Around the chain of one task: the span of the run. @internal */
export type Around = (job: Run, chain: Effect.Effect<unknown, unknown, any>) => Effect.Effect<unknown, unknown, any>

/** @internal */
export const deliver = (options: {
  readonly tasks: ReadonlyMap<string, Resolved>
  readonly wraps: ReadonlyArray<DeliveryWrap>
  readonly limits: Limits
  readonly around: Around | undefined
  /** called as a job's chain is entered */
  readonly onEnter: (job: Run) => void
}): Deliver => {
  const { around } = options
  const limits: Known = { ...options.limits, unknown: new Map() }
  const inner = <A>(
    fiber: Fiber.Fiber<unknown, unknown>,
    job: Run,
    delivery: Delivery,
    then: (job: Run, outcome: Outcome) => A
  ): Effect.Effect<A> => {
    job.delivery = delivery
    const task = options.tasks.get(delivery.envelope.task)
    const refused = refuse(job, delivery, task, limits)
    if (refused !== undefined) return Effect.succeed(then(job, refused))
    if (delivery.lostFrom !== undefined && task!.onLost !== "requeue") {
      const outcome = interrupted(job, task!, "lost", task!.onLost, Cause.interrupt())
      return Effect.map(outcome, (outcome) => then(job, outcome))
    }
    const payload = fromEnvelope(task!.task.codecs, delivery.envelope)
    if (payload._tag === "Failure") return Effect.succeed(then(job, undecodable(payload.cause)))
    job.payload = payload.value
    job.entered = true
    options.onEnter(job)
    const chain = (around === undefined
      ? task!.chain(fiber, payload.value, job)
      : around(job, entered(task!.chain, payload.value, job))) as Effect.Effect<unknown, unknown>
    // eager: most outcomes are known at once, and need no step of their own
    return whenOver(
      chain,
      (exit) => Effect.mapEager(decide(job, task!, exit), (outcome) => then(job, outcome))
    )
  }
  if (options.wraps.length === 0) return (fiber, job) => inner(fiber, job, job.delivery, delivered)
  return (_, job) => {
    let last: Delivered | undefined
    job.election = election(job)
    const core = (delivery: Delivery) =>
      Effect.withFiber((fiber) =>
        inner(fiber, job, delivery, (_, outcome) => {
          last = job.delivered = delivered(job, outcome)
          return last.settlement
        })
      )
    const chain = options.wraps.reduceRight(
      (next, wrap) => (delivery: Delivery) => layered(job, () => wrap(next, delivery)) as Effect.Effect<Settlement>,
      core
    )
    return Effect.matchCauseEffect(chain(job.delivery), {
      onSuccess: (settlement) => {
        const task = options.tasks.get(job.delivery.envelope.task)
        // asked to stop before anything inside had answered: what it elects is no better than what it catches, and it may
        // have caught the interruption of its own wait (L13)
        return (job.cut || job.asked) && last === undefined && task !== undefined && settlement._tag === "Complete"
          ? Effect.map(
            decide(job, task, Exit.interrupt()),
            (outcome) => delivered(job, outcome)
          )
          : Effect.succeed(elected(job, settlement, last))
      },
      // a dying delivery middleware is a failed attempt of the job, not the end of the worker; one whose wait a stop
      // interrupted is a run cut short
      onFailure: (cause) => {
        const task = options.tasks.get(job.delivery.envelope.task)
        return Effect.map(
          task === undefined
            ? Effect.succeed(unknown(job, job.delivery, undefined, limits))
            : job.asked && Cause.hasInterruptsOnly(cause)
            ? decide(job, task, Exit.failCause(cause))
            : failed(job, task, cause, new Died({ defect: Cause.squash(cause) })),
          (outcome) => delivered(job, outcome)
        )
      }
    })
  }
}

/** What ends a hand-out before its payload is looked at. */
const refuse = (job: Run, delivery: Delivery, task: Resolved | undefined, limits: Known): Outcome | undefined => {
  const { envelope } = delivery
  if (job.refused !== undefined) return job.refused
  if (task === undefined || envelope.version > task.task.version) return unknown(job, delivery, task, limits)
  job.resolved = task
  if (delivery.abortRequested) return { _tag: "Aborted", cause: undefined }
  if (delivery.unsettled >= limits.poison) {
    const error = `${delivery.unsettled} deliveries in a row ended with no settlement: it takes its worker down`
    return { _tag: "Dead", reason: "poison", cause: undefined, error, encoded: undefined }
  }
  if (task.deadline !== undefined && delivery.enqueuedAt !== undefined) {
    const late = job.startedAt - delivery.enqueuedAt - task.deadline
    if (late > 0) {
      const error = `its deadline of ${task.deadline} ms passed ${late} ms ago`
      return { _tag: "Dead", reason: "expired", cause: undefined, error, encoded: undefined }
    }
  }
  return undefined
}

/** Given back until somebody may know it, then dead: a rolling deploy loses nothing. */
const unknown = (job: Run, delivery: Delivery, task: Resolved | undefined, limits: Known): Outcome => {
  const { envelope } = delivery
  const met = meet(job, limits.unknown)
  const tooLong = job.startedAt - Math.max(met.at, delivery.enqueuedAt ?? 0) >= limits.unknownFor
  const why = task === undefined
    ? `no worker knows task ${envelope.task}`
    : `payload version ${envelope.version} of task ${envelope.task} is newer than the ${task.task.version} of this worker`
  if (tooLong) met.dead = job
  return tooLong
    ? { _tag: "Dead", reason: "unknown-task", cause: undefined, error: why, encoded: undefined }
    : { _tag: "Released", why: "unknown", after: backOff(job, delivery), reason: why }
}

/**
 * When this worker met the job first. Its age would not do: one that was delayed, or waited in a backlog, would be dead
 * before a worker that knows it had a chance.
 */
const meet = (job: Run, unknown: Known["unknown"]): Met => {
  const before = unknown.get(job.id)
  // one that was dead and is here again was redriven: it has its time once more
  if (before !== undefined && (before.dead === undefined || before.dead === job)) return before
  // ids of jobs that another worker took stay behind: the oldest makes room
  if (unknown.size >= 10_000) unknown.delete(unknown.keys().next().value!)
  const met: Met = { at: job.startedAt, dead: undefined }
  unknown.set(job.id, met)
  return met
}

/** A tenth of its age, between a second and a minute: soon tried by a worker that knows it, no load when none does. */
const backOff = (job: Run, delivery: Delivery): number =>
  Math.min(60_000, Math.max(1_000, (job.startedAt - (delivery.enqueuedAt ?? job.startedAt)) / 10))

const undecodable = (cause: Cause.Cause<unknown>): Outcome => ({
  _tag: "Dead",
  reason: "undecodable",
  cause,
  error: describe(Cause.squash(cause)),
  encoded: undefined
})
