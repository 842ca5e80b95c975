/** From the start to the end of one run: the first job, how far it is, and a stop when nothing is left to do. */
import { Context, Effect, Layer } from "effect"
import { Capability, Worker } from "windlass"
import { enqueueWalks } from "./handlers.ts"
import type { Progress, Snapshot } from "./progress.ts"
import { Stats } from "./stats.ts"
import { Index } from "./store.ts"

export const queue = "tree"

/** How it stands at the end of the process. */
export interface State {
  finished: boolean
  readonly started: number
}

const frame = "100 millis"
/** milliseconds over which the rate is measured */
const recent = 2_000

/** The run that this process began. */
export class Run extends Context.Service<Run, { readonly number: number }>()("tree/Run") {}

/** Comes before the worker, so that walks which an earlier run left in the queue are out of date when it meets them. */
export const begin = (root: string, progress: Progress) =>
  Layer.effect(
    Run,
    Effect.gen(function*() {
      const index = yield* Index
      const inspect = yield* Capability.Inspect
      const { continues, run } = yield* index.begin(root)
      const left = open(yield* inspect.counts(queue))
      if (continues || left > 0) {
        const { files } = yield* index.totals(root)
        progress.print(
          `an earlier run did not end: ${files} files are in the index, ${left} jobs in the queue; going on`
        )
      }
      yield* Effect.orDie(enqueueWalks([{ root, path: root, run }])).pipe(
        Effect.withSpan("index a tree", { attributes: { root } })
      )
      return { number: run }
    })
  )

/** Shows how it goes, and asks the worker to stop when every job has ended. */
export const untilDone = (progress: Progress, state: State) =>
  Effect.gen(function*() {
    const index = yield* Index
    const inspect = yield* Capability.Inspect
    const run = yield* Run
    const show = yield* shown(progress, state)
    while (true) {
      const counts = yield* inspect.counts(queue)
      yield* show(counts)
      if (open(counts) === 0) break
      yield* Effect.sleep(frame)
    }
    yield* index.finish(run.number)
    state.finished = true
  }).pipe(
    Effect.catchCause((cause) => Effect.logFatal("cannot tell whether there is anything left to do", cause)),
    Effect.ensuring(Worker.stop)
  )

const open = (counts: Capability.Counts): number => counts.ready + counts.scheduled + counts.active

/** What the queue says and what this process counted, as one picture. */
const shown = Effect.fnUntraced(function*(progress: Progress, state: State) {
  const stats = yield* Stats
  const worker = yield* Worker.Worker
  const marks: Array<readonly [at: number, done: number]> = []
  return Effect.fnUntraced(function*(counts: Capability.Counts) {
    const now = performance.now()
    marks.push([now, stats.done])
    while (marks.length > 2 && now - marks[0]![0] > recent) marks.shift()
    const [since, before] = marks[0]!
    const { running } = yield* worker.health
    progress.update(
      {
        // jobs that an earlier run left are done before the walk has come to their files
        found: Math.max(stats.found, stats.done),
        // and then the walk may meet a file that was done a moment ago: counted twice
        done: Math.min(Math.max(stats.found, stats.done), stats.unchanged + stats.done),
        elapsed: now - state.started,
        rate: now === since ? 0 : ((stats.done - before) * 1000) / (now - since),
        current: stats.current,
        waiting: reason(counts, running)
      } satisfies Snapshot
    )
  })
})

const reason = (counts: Capability.Counts, running: number): string | undefined => {
  if (counts.ready > 0 || running > 0) return undefined
  if (counts.active > 0) return `waiting for ${counts.active} jobs of a process that died or is still at them`
  return counts.scheduled > 0 ? `${counts.scheduled} to be tried again` : undefined
}
