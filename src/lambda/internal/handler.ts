/** The entry point: one environment that is built once and kept, and the invocations that go through it. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as ManagedRuntime from "effect/ManagedRuntime"
import * as direct from "../../internal/worker/direct.ts"
import type * as TaskGroup from "../../TaskGroup.ts"
import * as Worker from "../../Worker.ts"
import type { Handler, Options } from "../Lambda.ts"
import { invoke } from "./invoke.ts"
import type { InvocationContext } from "./model.ts"
import { forget, listen } from "./sigterm.ts"

/** @internal */
export class Direct extends Context.Service<Direct, direct.Direct>()("windlass/lambda/Direct") {}

type AnyOptions = Options<string, any, unknown, unknown>

interface Environment {
  readonly runtime: ManagedRuntime.ManagedRuntime<Direct, unknown>
  /** done when the environment closes: what runs is cut short */
  readonly closing: Deferred.Deferred<void>
  readonly running: Set<Promise<unknown>>
}

/** @internal */
export const makeHandler = (group: TaskGroup.TaskGroup<string>, options: AnyOptions): Handler => {
  const { layer, logJobs, middleware } = options
  const margin = options.margin === undefined ? 1_000 : Duration.toMillis(options.margin)
  const invalid = (message: string) => new Worker.InvalidWorker({ message })
  const wrong = wrongOptions(options.concurrency, margin)
  const worker = Layer.effect(
    Direct,
    wrong === undefined
      ? direct.make(group, { logJobs, middleware, stuckAfter: margin / 2 }, invalid)
      : Effect.fail(invalid(wrong))
  ) as Layer.Layer<Direct, unknown, unknown>

  let current: Environment | undefined
  let building: Promise<Environment> | undefined
  /** of the environments that are being closed */
  const ends = new Set<Promise<void>>()

  const build = async (): Promise<Environment> => {
    const environment: Environment = {
      runtime: ManagedRuntime.make(Layer.provideMerge(worker, layer as Layer.Layer<unknown, unknown>)),
      closing: Deferred.makeUnsafe(),
      running: new Set()
    }
    try {
      await environment.runtime.context()
    } catch (error) {
      // what was built before the failure is released; the next invocation begins anew
      await environment.runtime.dispose()
      throw error
    }
    listen(close)
    return current = environment
  }
  const environment = async (): Promise<Environment> => {
    if (current !== undefined) return current
    building ??= build().finally(() => building = undefined)
    return building
  }

  const handle = async (event: unknown, given?: InvocationContext | null) => {
    const context = given ?? {}
    const { closing, running, runtime } = await environment()
    const answer = runtime.runPromiseExit(
      Effect.flatMap(Direct, (worker) => invoke(worker, options, { event, context }, closing, margin))
    )
    running.add(answer)
    try {
      const exit = await answer
      if (Exit.isSuccess(exit)) return exit.value
      throw Cause.squash(exit.cause)
    } finally {
      running.delete(answer)
    }
  }
  const end = async (open: Environment) => {
    Deferred.doneUnsafe(open.closing, Effect.void)
    await Promise.allSettled(open.running)
    await open.runtime.dispose()
  }
  const close = async () => {
    const open = building === undefined ? current : await building.catch(() => undefined)
    if (open !== undefined && current === open) {
      // at once: an invocation from now on has an environment of its own
      current = undefined
      const ended: Promise<void> = end(open).finally(() => {
        ends.delete(ended)
        if (current === undefined && ends.size === 0) forget(close)
      })
      ends.add(ended)
    }
    // somebody else may have asked before: it is closed when that is over
    await Promise.all(ends)
  }
  const handler: Handler = Object.assign(handle, {
    build: async () => {
      await environment()
    },
    close
  })
  return handler
}

/** none of these would fail: nothing would ever run, or every answer would be late */
const wrongOptions = (concurrency: number | undefined, margin: number): string | undefined => {
  if (concurrency !== undefined && !(concurrency === Infinity || (Number.isInteger(concurrency) && concurrency >= 1))) {
    return `concurrency ${concurrency} of a function is no whole number from 1`
  }
  return margin >= 0 && Number.isFinite(margin)
    ? undefined
    : `margin ${margin} ms of a function is no time that it could keep`
}
