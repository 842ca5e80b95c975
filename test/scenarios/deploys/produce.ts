/** What a producer of either version does; the ids that it stored say which job is which. */
import * as Effect from "effect/Effect"
import * as Enqueue from "windlass/Enqueue"
import * as v1 from "./v1.ts"
import * as v2 from "./v2.ts"

export type Version = "old" | "new"

/** `tasks` says how many jobs of which */
export const produce = (version: Version, prefix: string, tasks: Readonly<Record<string, number>>) =>
  Effect.gen(function*() {
    const enqueue = version === "old" ? v1.enqueue : v2.enqueue
    const ids: Array<string> = []
    for (const [name, count] of Object.entries(tasks)) {
      const task = enqueue[name as keyof typeof enqueue]
      for (let i = 0; i < count; i++) {
        ids.push(yield* task(i).pipe(Enqueue.id(`${prefix}-${version}-${name}-${i}`)))
      }
    }
    return ids
  })
