/**
 * What a worker does for a job that is a node of a graph: when the settlement of its delivery is elected, and before it
 * takes effect, the node arrives at those after it. So a worker that dies in between leaves a job that runs again and
 * arrives again, which changes nothing; never one that is over and whose successors nobody enqueues.
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { BackendError, type Delivery, type Settlement } from "../../Backend.ts"
import { Cursor } from "../../Capability.ts"
import { type Outcome, toSettlement } from "../../Outcome.ts"
import { describe } from "../line.ts"
import { arrive, cursorsOf, isWhole } from "./arrive.ts"
import { header, jobId, type Node, read, startTask, type Stored, type When } from "./model.ts"

/** The parts of a running job that matter here. @internal */
export interface Running {
  readonly id: string
  readonly delivery: Delivery
  readonly stopping: string | undefined
}

/** @internal */
export interface Delivered {
  readonly outcome: Outcome
  readonly settlement: Settlement
}

/** The first job of a graph with several roots has no handler: it is there so that one publish stores them all. */
const start = ({ abortRequested }: Delivery): Delivered => {
  const outcome: Outcome = abortRequested
    ? { _tag: "Aborted", cause: undefined }
    : { _tag: "Succeeded", exit: Exit.void, encoded: undefined }
  return { outcome, settlement: toSettlement(outcome) }
}

/** how often a call is tried before the job is given back: about a minute */
const patience = 12

/** Around the delivery of every job; those of no graph pass. @internal */
export const continued =
  <F, J extends Running>(context: Context.Context<never>, deliver: (fiber: F, job: J) => Effect.Effect<Delivered>) =>
  (fiber: F, job: J): Effect.Effect<Delivered> => {
    const value = job.delivery.envelope.headers[header]
    if (value === undefined) return deliver(fiber, job)
    const stored = read(value)
    // the header of another job, which a handler passed on with all others
    if (stored !== undefined && jobId(stored.graph, stored.node) !== job.id) return deliver(fiber, job)
    if (stored === undefined) {
      return Effect.andThen(
        Effect.logError("the graph of this job cannot be read: what comes after it is not enqueued"),
        Effect.suspend(() => deliver(fiber, job))
      )
    }
    const run = job.delivery.envelope.task === startTask ? Effect.succeed(start(job.delivery)) : deliver(fiber, job)
    return Effect.flatMap(run, (delivered) => {
      const end = endOf(delivered.settlement)
      // one that comes back is not over; one whose lease was lost is somebody else's
      if (end === undefined || job.stopping === "lost") return Effect.succeed(delivered)
      return Effect.matchCauseEffect(advance(context, job, stored, end), {
        onSuccess: () => Effect.as(told(stored, delivered, end), delivered),
        onFailure: (cause) => givenBack(stored, cause)
      })
    })
  }

/** How a node has ended, if this settlement ends it. */
const endOf = (settlement: Settlement): When | undefined => {
  switch (settlement._tag) {
    case "Retry":
      return undefined
    case "Dead":
      return "ended"
    case "Complete":
      return settlement.how === "succeeded" ? "succeeded" : "ended"
  }
}

const goesOn = (end: When, when: When): boolean => end === "succeeded" || when === "ended"

const advance = (
  context: Context.Context<never>,
  job: Running,
  stored: Stored,
  end: When
): Effect.Effect<void, BackendError> =>
  Effect.gen(function*() {
    const cursor = Context.getOrUndefined(context as Context.Context<Cursor>, Cursor)
    if (cursor === undefined) {
      return yield* new BackendError({
        backend: "this worker's",
        operation: "graph",
        message: "it has no Cursor: provide the worker with the layer that the graph was enqueued with",
        retryable: false,
        outcome: "NotApplied"
      })
    }
    for (const [name, node] of Object.entries(stored.rest)) {
      const edge = node.after.find(([before]) => before === stored.node)
      if (edge === undefined || !goesOn(end, edge[1])) continue
      yield* patiently(
        job,
        Effect.provideService(arrive(stored.graph, stored.node, name, node, stored.rest), Cursor, cursor)
      )
    }
  })

/** Again and again while it can help and the job is this worker's. */
const patiently = (
  job: Running,
  call: Effect.Effect<void, BackendError>,
  tries = 1
): Effect.Effect<void, BackendError> =>
  Effect.catch(
    call,
    (error) =>
      !error.retryable || tries >= patience || job.stopping !== undefined ? Effect.fail(error) : Effect.andThen(
        // a stop of the worker ends the wait, and what is to be done about the error is asked again
        Effect.exit(Effect.interruptible(Effect.sleep(Math.min(10_000, 50 * 2 ** tries)))),
        patiently(job, call, tries + 1)
      )
  )

/**
 * After the settlement of a node took effect: forgets who has arrived at the nodes after it that were enqueued. Not after
 * its death: redriven it arrives again, perhaps after the unique key of the next one has ended. Undefined when there is
 * nothing to do, as for a job of no graph.
 *
 * @internal
 */
export const tidied = (
  context: Context.Context<never>,
  job: Running,
  settlement: Settlement
): Effect.Effect<void> | undefined => {
  const value = job.delivery.envelope.headers[header]
  if (value === undefined || settlement._tag !== "Complete") return undefined
  const stored = read(value)
  const cursor = Context.getOrUndefined(context as Context.Context<Cursor>, Cursor)
  if (stored === undefined || cursor === undefined) return undefined
  const end = endOf(settlement)!
  const forget = ([name, node]: readonly [string, Node]): Effect.Effect<void, BackendError> => {
    const edge = node.after.find(([before]) => before === stored.node)
    return edge === undefined || !goesOn(end, edge[1])
      ? Effect.void
      : Effect.flatMap(
        Effect.provideService(isWhole(stored.graph, name, node), Cursor, cursor),
        (whole) => whole ? cursor.forget(node.queue, cursorsOf(stored.graph, name, node.after.length)) : Effect.void
      )
  }
  // what is left behind is a number: it must not keep a worker from its work
  return Effect.ignoreCause(Effect.forEach(Object.entries(stored.rest), forget, { discard: true }))
}

/** Says what does not run because this node has not succeeded. */
const told = (stored: Stored, { outcome }: Delivered, end: When): Effect.Effect<void> => {
  const waiting = Object.entries(stored.rest).flatMap(([name, { after }]) =>
    after.some(([before, when]) => before === stored.node && !goesOn(end, when)) ? [name] : []
  )
  if (waiting.length === 0) return Effect.void
  return Effect.annotateLogs(
    Effect.logWarning(
      `node ${stored.node} of graph ${stored.graph} is ${outcome._tag.toLowerCase()}, so ${waiting.join(", ")} ` +
        (outcome._tag === "Dead" ? "will not run unless it is redriven and succeeds" : "will never run")
    ),
    { graph: stored.graph, node: stored.node }
  )
}

/** The job is done and its successors could not be told: it comes back, runs once more, and tries again. */
const givenBack = (stored: Stored, cause: Cause.Cause<unknown>): Effect.Effect<Delivered> => {
  const reason = `the nodes after ${stored.node} of graph ${stored.graph} could not be enqueued: ${
    describe(Cause.squash(cause))
  }`
  const outcome: Outcome = { _tag: "Released", why: "released", after: 5_000, reason }
  return Effect.as(Effect.logError(`${reason}; the job runs again`, cause), {
    outcome,
    settlement: toSettlement(outcome)
  })
}
