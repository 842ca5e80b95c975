/**
 * Jobs that come after other jobs: a graph is a set of enqueues and what each of them waits for. It is stored by one
 * publish; a node is enqueued when those before it have ended.
 *
 * ```ts
 * const release = Graph.make({
 *   build: { enqueue: Build.enqueue({ ref }) },
 *   test: { enqueue: Test.enqueue({ ref }), after: ["build"] },
 *   lint: { enqueue: Lint.enqueue({ ref }), after: ["build"] },
 *   publish: { enqueue: Publish.enqueue({ ref }), after: ["test", "lint"] },
 *   report: { enqueue: Report.enqueue({ ref }), after: ["publish"], when: "ended" }
 * })
 * const id = yield* Graph.enqueue(release)
 * ```
 *
 * - **Nothing is installed.** Every worker continues the graphs of the jobs that it runs; the backend must be able to do
 *   what the type of {@link enqueue} says.
 * - A node is enqueued **before** the settlement of the last one before it takes effect: no crash loses it. And exactly
 *   once: the job of node `test` is `ID/test`, and however often a node before it is delivered again, it is not enqueued a
 *   second time (not by a worker either that was frozen for less than seven days). It may begin a moment before the last
 *   one before it counts as over.
 * - A node that failed for good holds what comes after it with `when: "succeeded"`. The dead letter carries that part of
 *   the graph: redriven, it goes on from there when it succeeds. One that was discarded or aborted ends its branch. The
 *   worker says in its log which nodes do not run.
 * - Retries, delays, priorities, groups and headers are those of each enqueue; a delay counts from when the node's turn
 *   comes. A node has no unique key. Enqueue middleware sees every node once, when the graph is enqueued.
 * - A job carries what comes after it, so the first one carries the whole graph: it must fit into one job of the backend.
 *   Of a graph that has ended the backend keeps the unique keys of its jobs, for seven days; of one that stopped half-way
 *   also a number per node that something has arrived at.
 * - Ends that no worker sees continue nothing: a node that is cancelled while it waits, and one that completes itself in
 *   its own transaction (`TransactionalSettlement`) and whose worker dies right after.
 *
 * @since 0.1.0
 */
import type * as Effect from "effect/Effect"
import * as Schema from "effect/Schema"
import type { Backend } from "./Backend.ts"
import type * as Capability from "./Capability.ts"
import type * as Enqueue from "./Enqueue.ts"
import { type Declared, submit } from "./internal/graph/submit.ts"

/**
 * @category type ids
 * @since 0.1.0
 */
export const TypeId = "~windlass/Graph"

/**
 * A graph that cannot end: no nodes, a circle, a node that comes after one that is not there. Thrown where the graph is
 * made; nothing was enqueued.
 *
 * @category errors
 * @since 0.1.0
 */
export class InvalidGraph extends Schema.TaggedError<InvalidGraph>()("windlass/InvalidGraph", {
  reason: Schema.Literals(["Empty", "Name", "UnknownNode", "Circle"]),
  /** the nodes in question; of a circle all, in order */
  nodes: Schema.Array(Schema.String),
  message: Schema.String
}) {}

/**
 * One job of a graph.
 *
 * @category models
 * @since 0.1.0
 */
export interface Node<out R = any> {
  /** what is enqueued when its turn comes */
  readonly enqueue: Enqueue.Enqueue<string, Enqueue.EnqueueError, R, any>
  /** the nodes that it comes after; none for one that the graph begins with */
  readonly after?: ReadonlyArray<string> | undefined
  /** how those must have ended: as a success (unless set), or anyhow: dead, discarded or aborted too */
  readonly when?: "succeeded" | "ended" | undefined
}

/**
 * A graph that may be enqueued, any number of times. `R` is what its enqueues need.
 *
 * @category models
 * @since 0.1.0
 */
export interface Graph<out R> {
  readonly [TypeId]: { readonly requires: R }
  readonly nodes: ReadonlyMap<string, Node<R>>
}

/**
 * Nodes whose `after` names other nodes of the graph.
 *
 * @category type facts
 * @since 0.1.0
 */
export type InGraph<Nodes extends Readonly<Record<string, Node>>> = string extends keyof Nodes ? unknown : {
  readonly [Name in keyof Nodes]: { readonly after?: ReadonlyArray<Exclude<keyof Nodes, Name>> | undefined }
}

type Needs<N> = N extends { readonly enqueue: Enqueue.Enqueue<string, Enqueue.EnqueueError, infer R, any> } ? R : never

/**
 * A graph of these nodes. Throws {@link InvalidGraph}; a name that is no node's does not compile, where the names are known
 * to the compiler.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <const Nodes extends Readonly<Record<string, Node>>>(
  nodes: Nodes & InGraph<Nodes>
): Graph<Needs<Nodes[keyof Nodes]>> => {
  const all = new Map<string, Node>(Object.entries<Node>(nodes))
  const invalid = (reason: InvalidGraph["reason"], nodes: ReadonlyArray<string>, message: string) =>
    new InvalidGraph({ reason, nodes, message })
  if (all.size === 0) throw invalid("Empty", [], "a graph has no nodes: give it at least one")
  for (const [name, { after }] of all) {
    if (name === "") throw invalid("Name", [name], "a node of a graph needs a name")
    for (const before of after ?? []) {
      if (!all.has(before)) {
        throw invalid(
          "UnknownNode",
          [name, before],
          `node ${name} comes after ${before}, which is no node of the graph`
        )
      }
    }
  }
  const circle = circleIn(all)
  if (circle !== undefined) {
    throw invalid(
      "Circle",
      circle,
      `nodes of a graph wait for each other: ${[...circle, circle[0]].join(" comes after ")}`
    )
  }
  return { [TypeId]: { requires: undefined as never }, nodes: all }
}

/** The first circle that is met, if there is one. */
const circleIn = (nodes: ReadonlyMap<string, Node>): ReadonlyArray<string> | undefined => {
  const done = new Set<string>()
  const path: Array<string> = []
  const visit = (name: string): ReadonlyArray<string> | undefined => {
    if (done.has(name)) return undefined
    if (path.includes(name)) return path.slice(path.indexOf(name))
    path.push(name)
    for (const before of nodes.get(name)!.after ?? []) {
      const found = visit(before)
      if (found !== undefined) return found
    }
    path.pop()
    done.add(name)
    return undefined
  }
  for (const name of nodes.keys()) {
    const found = visit(name)
    if (found !== undefined) return found
  }
  return undefined
}

/**
 * One job after the other, in this order: a graph whose nodes are called `1`, `2`, `3`, ...
 *
 * @category constructors
 * @since 0.1.0
 */
export const chain = <const Es extends ReadonlyArray<Enqueue.Enqueue<string, Enqueue.EnqueueError, any, any>>>(
  ...enqueues: Es
): Graph<Needs<{ readonly enqueue: Es[number] }>> =>
  make(Object.fromEntries(enqueues.map((enqueue, i): [string, Node] => [
    String(i + 1),
    i === 0 ? { enqueue } : { enqueue, after: [String(i)] }
  ]))) as Graph<any>

/**
 * What the backend must be able to do.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Needed = Capability.Cursor | Capability.Unique

/**
 * Stores the graph with its first job and returns its id; durable when it returns. The jobs have the ids `ID/NODE`. With
 * an `id` of its own it is stored once: for seven days the same id stores nothing more. Fails as the enqueues of its nodes
 * do, and then nothing is stored: one that a middleware dropped is `Refused`, one with a unique key and a graph
 * that is larger than one job may be are `InvalidEnqueue`.
 *
 * A graph that begins with several nodes has one job more, `ID/`, which is over at once; it goes to the queue of the first
 * of them.
 *
 * @category combinators
 * @since 0.1.0
 */
export const enqueue = <R>(
  graph: Graph<R>,
  options?: { readonly id?: string | undefined }
): Effect.Effect<string, Enqueue.EnqueueError, R | Backend | Needed> => {
  const declared = new Map<string, Declared<R>>()
  for (const [name, { after, enqueue, when }] of graph.nodes) {
    declared.set(name, { enqueue, after: Array.from(new Set(after)), when: when ?? "succeeded" })
  }
  return submit(declared, options?.id)
}
