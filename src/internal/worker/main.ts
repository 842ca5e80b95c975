/** A worker as a process: signals in, exit code out. */
import type * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type { Report, Worker } from "../../Worker.ts"

interface Process {
  exitCode?: number | string | null | undefined
  readonly on: (signal: string, listener: () => void) => void
  readonly exit: (code?: number) => never
}

/** @internal */
export const runMain = <E>(layer: Layer.Layer<Worker, E>, tag: Context.Key<Worker, Worker["Service"]>): void => {
  // the one place of the core that knows a process; absent in runtimes without one
  const process = (globalThis as { readonly process?: Process }).process
  let signals = 0
  let over = false
  let asked: (() => void) | undefined
  const onSignal = () => {
    signals++
    // one that comes after the end finds the exit code set: it must not turn a clean end into a death by signal
    if (over) process?.exit()
    if (signals > 2) process?.exit(130)
    asked?.()
  }
  process?.on("SIGINT", onSignal)
  process?.on("SIGTERM", onSignal)
  const program = Effect.scoped(Effect.gen(function*() {
    const worker = Context.get(yield* Layer.build(layer), tag)
    asked = () => {
      Effect.runFork(signals === 1 ? worker.stop : worker.interrupt)
    }
    // a signal that came while the layer was being built
    if (signals > 0) asked()
    return yield* worker.await
  }))
  Effect.runFork(program).addObserver((exit) => {
    over = true
    const failed = failureOf(exit)
    if (failed === undefined) return
    Effect.runFork(Effect.logFatal("the worker failed", failed))
    if (process === undefined) return
    process.exitCode = 1 // a stuck chain keeps the process alive, and nothing else should: leave it a moment for its output
    ;(setTimeout(() => process.exit(1), 250) as { readonly unref?: () => void }).unref?.()
  })
}

const failureOf = <E>(exit: Exit.Exit<Report, E>): Cause.Cause<unknown> | undefined =>
  Exit.isFailure(exit) ? exit.cause : exit.value.failure
