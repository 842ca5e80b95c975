/** From a graph to its first job: every node passes the enqueue point here, once, and one job is published. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import { Backend, type Item, type Shape } from "../../Backend.ts"
import * as Enqueue from "../../Enqueue.ts"
import { uuidV7 } from "../id.ts"
import { itemOf, jobId, type Node, startNode, startTask, type When } from "./model.ts"

/** A node as `Graph.make` keeps it. @internal */
export interface Declared<R> {
  readonly enqueue: Enqueue.Enqueue<string, Enqueue.EnqueueError, R, any>
  readonly after: ReadonlyArray<string>
  readonly when: When
}

/** @internal */
export const submit = <R>(
  nodes: ReadonlyMap<string, Declared<R>>,
  id: string | undefined
): Effect.Effect<string, Enqueue.EnqueueError, R | Backend> =>
  Effect.gen(function*() {
    const backend = yield* Backend
    const graph = id ?? uuidV7(yield* Clock.currentTimeMillis)
    const prepared: Record<string, Node> = {}
    for (const [name, declared] of nodes) prepared[name] = yield* prepare(backend, graph, name, declared)
    const roots = Object.entries(prepared).filter(([, { after }]) => after.length === 0)
    const [[name, first]] = roots as [[string, Node]]
    const root = roots.length === 1
      ? itemOf(graph, name, first, prepared)
      : itemOf(graph, startNode, starter(graph, first), afterStart(prepared))
    yield* fits(backend, root, nodes.size)
    yield* backend.publish(first.queue, [root])
    return graph
  })

/** The node through the enqueue point, up to the backend and no further. */
const prepare = <R>(
  backend: Shape,
  graph: string,
  name: string,
  { after, enqueue, when }: Declared<R>
): Effect.Effect<Node, Enqueue.EnqueueError, R> =>
  Effect.gen(function*() {
    let found: { readonly queue: string; readonly item: Item } | undefined
    const publish: Shape["publish"] = (queue, items) =>
      Effect.sync(() => {
        found = { queue, item: items[0]! }
        return items.map(() => ({ _tag: "Stored" as const }))
      })
    yield* Effect.provideService(Enqueue.id(jobId(graph, name))(enqueue), Backend, { ...backend, publish })
    if (found === undefined) {
      return yield* new Enqueue.Refused({
        by: "Graph",
        reason: `a middleware of the enqueue point dropped node ${name}: nothing of the graph is stored`
      })
    }
    const { item, queue } = found
    if (item.unique !== undefined) {
      const { task } = item.envelope
      return yield* new Enqueue.InvalidEnqueue({
        task,
        reason: "Option",
        message:
          `task ${task}: node ${name} of a graph has a unique key, so another job could stand in its place and the ` +
          "graph would wait for ever: give the graph an id instead"
      })
    }
    return { after: after.map((before) => [before, when] as const), queue, item }
  })

/** One job in front of several roots, so that the graph is there as a whole or not at all. */
const starter = (graph: string, first: Node): Node => ({
  after: [],
  queue: first.queue,
  item: {
    envelope: {
      id: jobId(graph, startNode),
      task: startTask,
      version: 1,
      payload: "null",
      headers: {},
      origin: first.item.envelope.origin
    }
  }
})

const afterStart = (nodes: Readonly<Record<string, Node>>): Readonly<Record<string, Node>> =>
  Object.fromEntries(
    Object.entries(nodes).map(([name, node]) => [
      name,
      node.after.length === 0 ? { ...node, after: [[startNode, "succeeded"] as const] } : node
    ])
  )

/** The first job carries the others: the largest there will be. */
const fits = (backend: Shape, root: Item, nodes: number): Effect.Effect<void, Enqueue.InvalidEnqueue> => {
  const { headers, payload, task } = root.envelope
  const bytes = new TextEncoder().encode(payload + JSON.stringify(headers)).length
  return bytes <= backend.limits.payloadBytes ? Effect.void : Effect.fail(
    new Enqueue.InvalidEnqueue({
      task,
      reason: "TooLarge",
      message:
        `a graph of ${nodes} nodes is ${bytes} bytes, and its first job carries all of it; ${backend.name} carries ` +
        `${backend.limits.payloadBytes}: keep the data of the payloads elsewhere, or enqueue a part of it from a node`
    })
  )
}
