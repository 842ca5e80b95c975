/**
 * A node has ended, and arrives at one that comes after it. What has arrived there is a set of bits, kept as a cursor of
 * the queue that the later node goes to; the step that makes the set whole is the one that publishes it, so it is enqueued
 * exactly once, whoever else arrives at the same time, and however often a node arrives because its worker died before it
 * could settle. (Who arrives after the cursor was forgotten meets the unique key of the job: see `model.ts`.)
 *
 * A cursor holds few bits. Above that many predecessors they arrive in words, and a word that is whole arrives at the
 * next level as one: a node that comes again finds its word whole and goes on from there.
 */
import * as Effect from "effect/Effect"
import type { BackendError } from "../../Backend.ts"
import { type Advanced, Cursor } from "../../Capability.ts"
import { itemOf, type Node } from "./model.ts"

/** bits of one cursor: every engine keeps such numbers exactly */
const width = 30

const nameOf = (graph: string, node: string, level: number, word: number): string =>
  level === 0 && word === 0 ? `graph ${graph}/${node}` : `graph ${graph}/${node} ${level}.${word}`

/** The cursors of a node with so many predecessors. @internal */
export const cursorsOf = (graph: string, node: string, predecessors: number): ReadonlyArray<string> => {
  const names: Array<string> = []
  for (let level = 0, size = predecessors;; level++, size = Math.ceil(size / width)) {
    const words = Math.ceil(size / width)
    for (let word = 0; word < words; word++) names.push(nameOf(graph, node, level, word))
    if (words <= 1) return names
  }
}

/** @internal */
export const arrive = (
  graph: string,
  from: string,
  at: string,
  node: Node,
  rest: Readonly<Record<string, Node>>
): Effect.Effect<void, BackendError, Cursor> =>
  Effect.gen(function*() {
    const cursor = yield* Cursor
    let place = node.after.findIndex(([before]) => before === from)
    for (let level = 0, size = node.after.length;; level++, size = Math.ceil(size / width)) {
      const word = Math.floor(place / width)
      const whole = 2 ** Math.min(width, size - word * width) - 1
      const bit = 2 ** (place % width)
      const last = size <= width
      const name = nameOf(graph, at, level, word)
      let bits: number | undefined = undefined
      while (((bits ?? 0) & bit) === 0) {
        const to: number = (bits ?? 0) | bit
        const items = last && to === whole ? [itemOf(graph, at, node, rest)] : []
        const moved: Advanced = yield* cursor.advance({ queue: node.queue, name, from: bits, to }, items)
        // another one was first, or this one was here before
        bits = moved._tag === "Advanced" ? to : moved.at
      }
      if (last || bits !== whole) return
      place = word
    }
  })

/** Whether all have arrived there, and so it was enqueued. @internal */
export const isWhole = (graph: string, at: string, node: Node): Effect.Effect<boolean, BackendError, Cursor> =>
  Effect.flatMap(Cursor, (cursor) => {
    let size = node.after.length
    while (size > width) size = Math.ceil(size / width)
    const top = cursorsOf(graph, at, node.after.length).at(-1)!
    return Effect.map(cursor.get(node.queue, top), (bits) => bits === 2 ** size - 1)
  })
