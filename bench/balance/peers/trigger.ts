/**
 * Trigger.dev: its `TaskExecutor`, which runs an attempt inside of its worker processes, without its platform. Middleware is
 * registered as `tasks.middleware` of its SDK does. A cancellation is what its worker does when the platform sends one: the
 * signal, then the `onCancel` hooks, and the result of the run is not waited for unless such a hook does.
 */
import { trace } from "@opentelemetry/api"
import { lifecycleHooks } from "@trigger.dev/core/v3"
import { TriggerTracer } from "@trigger.dev/core/v3/tracer"
import { ConsoleInterceptor, StandardLifecycleHooksManager, TaskExecutor } from "@trigger.dev/core/v3/workers"
import { type Library, type Program, type Who } from "../program.ts"

const middleware = (program: Program, who: Who) => async ({ next }: { next: () => Promise<void> }) => {
  if (program.answers(who)) return
  program.acquire(who)
  let failed = false
  try {
    await next()
  } catch (error) {
    failed = true
    if (who === "A") program.told(error)
    throw error
  } finally {
    if (who === "A" && !failed) program.told(undefined)
    await program.release(who)
  }
}

const execution = {
  task: { id: "send", filePath: "send.ts" },
  attempt: { number: 1, startedAt: new Date(), id: "attempt_1", status: "EXECUTING" },
  run: {
    id: "run_1",
    payload: "{}",
    payloadType: "application/json",
    context: {},
    createdAt: new Date(),
    tags: [],
    isTest: false,
    isReplay: false,
    durationMs: 0,
    costInCents: 0,
    baseCostInCents: 0,
    startedAt: new Date(),
    maxAttempts: 1
  },
  environment: { id: "env", slug: "env", type: "PRODUCTION" },
  organization: { id: "org", slug: "org", name: "org" },
  project: { id: "project", ref: "project", slug: "project", name: "project" },
  queue: { id: "queue", name: "queue" },
  machine: { name: "small-1x", cpu: 1, memory: 1, centsPerMs: 0 }
}

const run = async (program: Program) => {
  lifecycleHooks.setGlobalLifecycleHooksManager(new StandardLifecycleHooksManager())
  for (const who of ["A", "B", "C"] as const) {
    lifecycleHooks.registerGlobalMiddlewareHook({ id: who, fn: middleware(program, who) as never })
  }
  if (program.isCut) {
    // as its documentation has it: the hook may wait for the run
    lifecycleHooks.registerTaskCancelHook("send", {
      fn: (async ({ runPromise }: { runPromise: Promise<unknown> }) => {
        await runPromise.catch(() => undefined)
      }) as never
    })
  }
  const logger = { emit: () => undefined, enabled: () => false }
  const executor = new TaskExecutor(
    {
      id: "send",
      fns: { run: (_payload: unknown, { signal }: { signal: AbortSignal }) => program.handler({ signal }) }
    } as never,
    {
      tracingSDK: {} as never,
      tracer: new TriggerTracer({ tracer: trace.getTracer("balance"), logger } as never),
      consoleInterceptor: new ConsoleInterceptor(logger as never, false, true),
      retries: { enabledInDev: true, default: { maxAttempts: 1 } }
    }
  )
  const controller = new AbortController()
  const done = executor.execute(execution as never, execution as never, controller.signal)
  if (program.isCut) {
    await program.atWork
    controller.abort("run cancelled")
    await lifecycleHooks.callOnCancelHookListeners()
    // its worker says so now, and the platform ends the process
    await new Promise((resolve) => setImmediate(resolve))
    program.settled("cancelled")
    await done
  } else {
    const { result } = await done
    if (result === undefined) program.settled("nothing")
    else {
      program.settled(result.ok ? "succeeded" : "failed")
      if (!result.ok) program.heard(result.error)
    }
  }
  program.closed()
}

export const libraries: ReadonlyArray<Library> = [{
  name: "Trigger.dev",
  how:
    "its `TaskExecutor` without its platform; `tasks.middleware`, `await next()` in try and finally; `onCancel` awaits the run",
  leavesOut: {
    "goes on later": "a wait needs its platform",
    "shutdown": "its platform ends the machine"
  },
  run
}]
