/**
 * What is stored of a graph, and where: with every job of it, as a header, all that comes after that job. No table of its
 * own: what a node needs to go on is there for as long as the node is, in the dead letters too.
 */
import type { Item } from "../../Backend.ts"

/** @internal */
export const header = "windlass-graph"

/** the task of the job that a graph with several roots begins with; no worker has it, and every worker knows it @internal */
export const startTask = "windlass/Graph/start"

/** its place in the graph: no node may have this name @internal */
export const startNode = ""

/** How a node must have ended for one after it: as a success, or anyhow. @internal */
export type When = "succeeded" | "ended"

/** A node that is not in the queue yet. @internal */
export interface Node {
  /** what it comes after, in an order that stays: the place in this list is the node's bit in the cursor */
  readonly after: ReadonlyArray<readonly [node: string, when: When]>
  readonly queue: string
  /** as the enqueue point left it */
  readonly item: Item
}

/** The header of one job. @internal */
export interface Stored {
  readonly graph: string
  readonly node: string
  /** every node that comes after it, at once or later */
  readonly rest: Readonly<Record<string, Node>>
}

/** @internal */
export const jobId = (graph: string, node: string): string => `${graph}/${node}`

/**
 * How long a job of a graph is known after its enqueue, in milliseconds: seven days. What has arrived at a node is forgotten
 * once it was enqueued; a node whose worker died, or was frozen and does not know that its job is somebody else's, may
 * arrive after that, and finds this.
 */
const known = 7 * 86_400_000

/** undefined for what is none, or none that this version can read @internal */
export const read = (value: string): Stored | undefined => {
  try {
    const stored = JSON.parse(value) as Stored
    return typeof stored.graph === "string" && typeof stored.node === "string" && typeof stored.rest === "object"
      ? stored
      : undefined
  } catch {
    return undefined
  }
}

/** The nodes of `rest` that come after `name`, at once or later. */
const following = (name: string, rest: Readonly<Record<string, Node>>): Readonly<Record<string, Node>> => {
  const found: Record<string, Node> = {}
  const visit = (from: string): void => {
    for (const [next, node] of Object.entries(rest)) {
      if (found[next] !== undefined || !node.after.some(([before]) => before === from)) continue
      found[next] = node
      visit(next)
    }
  }
  visit(name)
  return found
}

/** The job of a node with what comes after it. @internal */
export const itemOf = (graph: string, name: string, node: Node, rest: Readonly<Record<string, Node>>): Item => {
  const stored: Stored = { graph, node: name, rest: following(name, rest) }
  const { envelope } = node.item
  return {
    ...node.item,
    unique: { key: `graph ${envelope.id}`, until: { millis: known } },
    envelope: { ...envelope, headers: { ...envelope.headers, [header]: JSON.stringify(stored) } }
  }
}
