/** Who takes part, known without loading anything: a cell loads the module of its contender and no other. */
import type { Contender, Contenders } from "./contender.ts"

export interface Entrant {
  readonly name: string
  /** what one layer is, and does */
  readonly what: string
  /** the same program without layers, when that has a name of its own */
  readonly base?: string
  /** microseconds a layer at ten layers, everything included */
  readonly target?: number
}

const ours = (name: string, what: string, target?: number): Entrant => ({
  name,
  what,
  base: "no layers",
  ...(target === undefined ? {} : { target })
})

/** without any of what a chain holds */
const byHand = (name: string, what: string): Entrant => ({
  name: `Effect by hand, ${name}`,
  what,
  base: "Effect.runFork"
})

/** what it costs to have so many layers */
export const layered: ReadonlyArray<Entrant> = [
  ours("observe", "Middleware.observe, both hooks plain functions", 0.2),
  ours("observe, effects", "Middleware.observe, both hooks return an effect: a fiber each", 0.2),
  ours("observe, Timing", "the Timing observer that ships: two clock readings", 0.2),
  ours("provide", "declared, Middleware.hooks({ provides, before }): a service of its own each", 0.4),
  ours("hooks", "Middleware.hooks({ before, after }), both effects", 0.4),
  ours("scoped", "Middleware.hooks({ before }), which is an Effect.acquireRelease", 1),
  ours("scoped and provided", "declared, the same, and provides what it acquired", 1),
  ours("scoped, before and after", "declared, hooks({ provides, before, after }): acquired before, released after", 1),
  ours("scoped, in a gen", "declared, a wrap in Effect.gen: acquireRelease, then next with the service"),
  ours("scoped, acquireUseRelease", "Middleware.make, Effect.acquireUseRelease around next", 1),
  ours("scoped, addFinalizer", "Middleware.make, Effect.addFinalizer before next", 1),
  ours("wrap", "Middleware.make, which calls next: what the guard of next costs"),
  ours("own wrap", "Task.wrap, which calls next"),
  byHand("provide", "flatMap, provideService"),
  byHand("hooks", "uninterruptibleMask, flatMap, onExit"),
  byHand("scoped", "Effect.scoped around an acquireRelease"),
  byHand("acquireUseRelease", "Effect.acquireUseRelease"),
  { name: "koa-compose", what: "async (context, next) => { ...; await next(); ... }" },
  { name: "middy", what: "{ before, after }, both async" },
  { name: "middy, functions that are not async", what: "{ before, after }, as it also takes them" },
  { name: "plain async functions", what: "async (payload) => { ...; await next(payload); ... }" },
  { name: "plain async functions, try and finally", what: "the same with the way out in finally" }
]

/** a whole job; `above`: what the row is compared with */
export const jobs: ReadonlyArray<{ readonly name: string; readonly above?: string; readonly target?: number }> = [
  { name: "the engine alone" },
  { name: "Effect.runFork" },
  { name: "Effect.runFork, decoding" },
  { name: "Effect.runFork, three layers by hand", above: "Effect.runFork" },
  { name: "no layers", above: "Effect.runFork", target: 3 },
  { name: "three middlewares", above: "Effect.runFork", target: 3 },
  { name: "Effect.runFork, async" },
  { name: "Effect.runFork, async, decoding" },
  { name: "no layers, async", above: "Effect.runFork, async", target: 3 },
  { name: "three middlewares, async", above: "Effect.runFork, async", target: 3 }
]

export const traced: ReadonlyArray<{ readonly name: string; readonly above?: string }> = [
  { name: "no tracer" },
  { name: "no tracer, Tracing in the list", above: "no tracer" },
  { name: "a tracer", above: "no tracer" },
  { name: "a tracer, Tracing in the list", above: "no tracer" },
  { name: "Effect.runFork, no span" },
  { name: "Effect.runFork, Effect.withSpan", above: "Effect.runFork, no span" }
]

const modules: ReadonlyArray<readonly [of: RegExp, module: string]> = [
  [/^koa-compose/, "../peers/koa.ts"],
  [/^middy/, "../peers/middy.ts"],
  [/^plain/, "plain.ts"],
  [/tracer|span/i, "tracing.ts"],
  [/^Effect|engine/, "effect.ts"],
  [/./, "windlass.ts"]
]

/** without a worker around it: a job costs a tenth */
export const isLight = (name: string): boolean => /^(koa|middy|plain|Effect|the engine)/.test(name)

export const load = async (name: string): Promise<Contender> => {
  const [, module] = modules.find(([of]) => of.test(name))!
  // by an address that the compiler does not follow: peers are installed by those who run the bench
  const { contenders } = await import(new URL(module, import.meta.url).href) as { readonly contenders: Contenders }
  const contender = contenders[name]
  if (contender === undefined) throw new Error(`no contender ${name} in ${module}`)
  return contender
}
