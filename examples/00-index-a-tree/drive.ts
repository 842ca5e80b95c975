/** From the start to the end of one run: the first job, how far it is, and a stop when nothing is left to do. */
import { Effect, FileSystem, type Path, type Scope } from "effect"
import { type Backend, Capability, Worker } from "windlass"
import { enqueueWalks } from "./handlers.ts"
import type { Progress, Snapshot } from "./progress.ts"
import { Stats } from "./stats.ts"
import { Index, IndexError } from "./store.ts"

export const queue = "tree"

/** How it stands at the end of the process. */
export interface State {
  finished: boolean
  readonly started: number
}

const frame = "100 millis"
/** milliseconds over which the rate is measured */
const recent = 2_000

/** Runs with the worker, and asks it to stop when every job has ended. */
export const drive = (options: {
  readonly root: string
  readonly progress: Progress
  readonly state: State
}): Effect.Effect<
  void,
  IndexError | Backend.BackendError,
  | Index
  | Stats
  | Worker.Worker
  | Backend.Backend
  | Capability.Inspect
  | Capability.Priority
  | FileSystem.FileSystem
  | Path.Path
  | Scope.Scope
> =>
  Effect.gen(function*() {
    const index = yield* Index
    const inspect = yield* Capability.Inspect
    const { progress, root, state } = options
    const { continues, run } = yield* index.begin(root)
    const waiting = yield* inspect.counts(queue)
    if (continues || waiting.ready + waiting.active + waiting.scheduled > 0) {
      const { files } = yield* index.totals(root)
      const left = waiting.ready + waiting.active + waiting.scheduled
      progress.print(`an earlier run did not end: ${files} files are in the index, ${left} jobs in the queue; going on`)
    }
    yield* Effect.orDie(enqueueWalks([{ root, path: root, run }])).pipe(Effect.withSpan("index a tree", { attributes: { root } }))
    yield* Effect.forkScoped(Effect.gen(function*() {
      const show = yield* shown(options)
      while (true) {
        const counts = yield* inspect.counts(queue)
        yield* show(counts)
        if (counts.ready + counts.scheduled + counts.active === 0) break
        yield* Effect.sleep(frame)
      }
      yield* index.finish(run)
      state.finished = true
      const worker = yield* Worker.Worker
      yield* worker.stop
    }))
  })

/** What the queue says and what this process counted, as one picture. */
const shown = Effect.fnUntraced(function*({ progress, state }: Parameters<typeof drive>[0]) {
  const stats = yield* Stats
  const worker = yield* Worker.Worker
  const marks: Array<readonly [at: number, done: number]> = []
  return Effect.fnUntraced(function*(counts: Capability.Counts) {
    const now = performance.now()
    marks.push([now, stats.done])
    while (marks.length > 2 && now - marks[0]![0] > recent) marks.shift()
    const [since, before] = marks[0]!
    const { running } = yield* worker.health
    const left = counts.ready + counts.active + counts.scheduled
    const done = stats.unchanged + stats.done
    progress.update({
      found: Math.max(stats.found, done + left),
      done,
      walking: false,
      elapsed: now - state.started,
      rate: now === since ? 0 : ((stats.done - before) * 1000) / (now - since),
      current: stats.current,
      waiting: reason(counts, running)
    } satisfies Snapshot)
  })
})

const reason = (counts: Capability.Counts, running: number): string | undefined => {
  if (counts.ready > 0 || running > 0) return undefined
  if (counts.active > 0) return `waiting for ${counts.active} jobs of a process that died or is still at them`
  return counts.scheduled > 0 ? `${counts.scheduled} to be tried again` : undefined
}
