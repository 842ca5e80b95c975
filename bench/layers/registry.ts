/** Who takes part, known without loading anything: a cell loads the module of its contender and no other. */
import type { Contender, Contenders } from "./contender.ts"

export interface Entrant {
  readonly name: string
  /** the same program without layers, when that has a name of its own */
  readonly base?: string
  /** microseconds a layer at ten layers, everything included */
  readonly target?: number
}

const ours = (name: string, target?: number): Entrant => ({
  name,
  base: "no layers",
  ...(target === undefined ? {} : { target })
})

/** what it costs to have so many layers */
export const layered: ReadonlyArray<Entrant> = [
  ours("observe", 0.2),
  ours("observe, effects", 0.2),
  ours("observe, Timing", 0.2),
  ours("provide", 0.4),
  ours("hooks", 0.4),
  ours("scoped", 1),
  ours("scoped and provided", 1),
  ours("scoped, in a gen"),
  ours("scoped, acquireUseRelease", 1),
  ours("scoped, addFinalizer", 1),
  ours("wrap"),
  ours("own wrap"),
  { name: "koa-compose" },
  { name: "middy" },
  { name: "middy, functions that are not async" },
  { name: "plain async functions" },
  { name: "plain async functions, try and finally" }
]

/** a whole job; `above`: what the row is compared with */
export const jobs: ReadonlyArray<{ readonly name: string; readonly above?: string; readonly target?: number }> = [
  { name: "the engine alone" },
  { name: "Effect.runFork" },
  { name: "Effect.runFork, decoding" },
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
  [/^Effect\.|engine/, "effect.ts"],
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
