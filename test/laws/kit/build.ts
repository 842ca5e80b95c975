/** From the description of a case to real middleware, a real task and a real handler, all of which write to the trace. */
import { Context, Effect, Exit, Latch, Layer, Schedule, Schema, type Scope } from "effect"
import type * as Backend from "windlass/Backend"
import * as Decide from "windlass/Decide"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import type * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { settlementLine } from "./decide.ts"
import { viewOf } from "./exits.ts"
import { type Around, decidedAfter, type Fault, type Mid, type Resource, retryAfter } from "./spec.ts"
import type { World } from "./world.ts"

/** the failure that every task and every declared middleware of the kit declares; `at` says who made it */
export class Boom extends Schema.TaggedError<Boom>()("Boom", { at: Schema.String }) {}

type Run = Effect.Effect<any, any, any>

const faulty = (fault: Fault, at: string): Effect.Effect<never, Boom | Decide.Decide> => {
  switch (fault) {
    case "fail":
      return Effect.fail(new Boom({ at }))
    case "die":
      return Effect.die(at)
    case "discard":
      return Effect.fail(Decide.discard())
    case "dead":
      return Effect.fail(Decide.dead())
    case "retry":
      return Effect.fail(Decide.retry())
    case "retryAfter":
      return Effect.fail(Decide.retry({ after: decidedAfter }))
    case "snooze":
      return Effect.fail(Decide.snooze(decidedAfter))
  }
}

const sleep = (millis: number) => millis === 0 ? Effect.void : Effect.sleep(millis)

const acquire = (world: World, name: string, resources: ReadonlyArray<Resource>, faults: boolean) =>
  Effect.forEach(resources, (resource, k): Effect.Effect<void, any, Scope.Scope> => {
    const release = (serial: number, exit: Exit.Exit<unknown, unknown>) =>
      Effect.suspend(() => world.step(`rel ${name}.${k} #${serial}:${viewOf(exit)}`)).pipe(
        Effect.andThen(sleep(resource.releaseSlow)),
        Effect.andThen(faults && resource.releaseDies ? Effect.die(`r${name}.${k}`) : Effect.void)
      )
    const acquired = Effect.suspend(() => {
      const serial = world.serial()
      return Effect.as(world.step(`acq ${name}.${k} #${serial}`), serial)
    })
    if (resource.via === "addFinalizer") {
      return Effect.uninterruptible(
        Effect.flatMap(acquired, (serial) => Effect.addFinalizer((exit) => release(serial, exit)))
      )
    }
    return Effect.asVoid(Effect.acquireRelease(
      sleep(resource.slow).pipe(
        Effect.andThen(
          faults && resource.fault !== undefined ? faulty(resource.fault, `q${name}.${k}`) : acquired
        )
      ),
      release
    ))
  }, { discard: true })

interface Provided {
  uses: number
}

const serviceKey = (i: number): Context.Key<any, Provided> => Context.Service<any, Provided>(`laws/Provided${i}`)

/** what a middleware of the run point does, whatever it is declared as */
const wrapOf = (world: World, mid: Mid, i: number): any => {
  const own = mid.place === "own"
  const faults = () => world.delivery <= mid.until
  const before = Effect.suspend(() =>
    world.step(`>${i}`).pipe(
      Effect.andThen(acquire(world, `${i}`, mid.resources, faults())),
      Effect.andThen(mid.before.gives === true ? Effect.interruptible(sleep(mid.before.slow)) : sleep(mid.before.slow)),
      Effect.andThen(
        faults() && mid.before.fault !== undefined ? faulty(mid.before.fault, `b${i}`) : world.step(`bef ${i}`)
      ),
      Effect.as<Provided>({ uses: 0 })
    )
  )
  const after = (exit: Exit.Exit<unknown, unknown>): Effect.Effect<void, any> =>
    mid.after === undefined ? Effect.void : world.step(`aft ${i}:${viewOf(exit)}`).pipe(
      Effect.andThen(sleep(mid.after.slow)),
      Effect.andThen(
        faults() && mid.after.fault !== undefined ? faulty(mid.after.fault, `a${i}`) : world.step(`aft. ${i}`)
      )
    )
  if (mid.form === "hooks") {
    return Middleware.hooks({
      ...(mid.provides ? { provides: serviceKey(i) } : {}),
      before: () => before,
      ...(mid.after === undefined ? {} : { after })
    } as never)
  }
  return (next: (input: any) => Run, input: any): Run =>
    Effect.flatMap(before, (provided) => {
      const once = Effect.suspend(() => own ? next({ value: `${input.value}.${i}` }) : next(input))
      const valued = own ? Effect.map(once, (value) => `${value}.${i}`) : once
      const run = mode(world, mid, i, mid.provides ? Effect.provideService(valued, serviceKey(i), provided) : valued)
      return mid.after === undefined ? run : Effect.onExit(run, after)
    })
}

const mode = (world: World, mid: Mid, i: number, run: Run): Run => {
  const own = mid.place === "own"
  const { mode } = mid
  switch (mode._tag) {
    case "once":
      return run
    case "again": {
      const loop = (left: number): Run =>
        Effect.flatMap(
          Effect.exit(run),
          (exit) => Exit.isSuccess(exit) || left === 0 ? exit : Effect.andThen(world.step(`again ${i}`), loop(left - 1))
        )
      return loop(mode.times)
    }
    case "catch":
      return Effect.catchCause(run, (cause) =>
        Effect.andThen(
          world.step(`catch ${i}:${viewOf(Exit.failCause(cause))}`),
          own ? Effect.succeed(`caught${i}`) : Effect.failCause(cause)
        ))
    case "limit":
      return Effect.timeoutOrElse(run, {
        duration: mode.millis,
        orElse: () =>
          Effect.andThen(
            world.step(`limit ${i}`),
            faulty(own || (mid.declared && mid.place !== "worker") ? "fail" : "retry", `l${i}`)
          )
      })
    case "short":
      return Effect.suspend(() =>
        world.delivery > mid.until ? run : own ? Effect.succeed(`short${i}`) : Effect.fail(Decide.discard())
      )
  }
}

const handlerOf = (world: World) => ({ value }: { readonly value: string }): Effect.Effect<string, any, any> => {
  const spec = world.spec.handler
  return Effect.suspend(() => {
    const n = ++world.bodies
    const returned = Latch.makeUnsafe(false)
    const run = spec.runs[n - 1] ?? { slow: 0, end: "succeed" as const }
    const main = (run.slow === "never" ? Effect.never : sleep(run.slow)).pipe(
      Effect.andThen(world.step(`h. ${n}`)),
      Effect.andThen(
        run.end === "succeed" ? Effect.void : run.end === "interrupt" ? Effect.interrupt : faulty(run.end, `h${n}`)
      ),
      Effect.onExit((exit) =>
        Effect.andThen(
          world.step(`h< ${n}:${viewOf(exit)}`),
          Effect.sync(() => returned.openUnsafe())
        )
      )
    )
    return Effect.gen(function*() {
      yield* world.step(`h> ${n}`)
      for (const [i, mid] of world.spec.mids.entries()) {
        if (mid.provides) world.note(`svc ${i}:${++(yield* serviceKey(i)).uses}`)
      }
      yield* acquire(world, "h", spec.resources, n <= spec.runs.length)
      for (const fork of spec.forks) {
        world.note(`fork ${fork._tag}`)
        if (fork._tag === "child") {
          yield* Effect.forkChild(Effect.onInterrupt(Effect.never, () => Effect.sync(() => world.note("child I"))), {
            startImmediately: true
          })
        } else {
          // its own time begins when the handler has returned, so that the model needs one clock only
          yield* Job.fork(
            returned.await.pipe(
              Effect.andThen(Effect.sleep(fork.millis)),
              Effect.andThen(Effect.sync(() => world.note("job S"))),
              Effect.andThen(fork.fails ? Effect.fail(new Boom({ at: "fork" })) : Effect.void),
              Effect.onInterrupt(() => Effect.sync(() => world.note("job I")))
            )
          )
        }
      }
      yield* main
      return `${value}.h`
    })
  })
}

const deliveryOf = (world: World, around: Around, i: number) =>
  Middleware.delivery(`d${i}`, (next, delivery) =>
    Effect.gen(function*() {
      const faults = world.delivery <= around.until
      yield* world.step(`d>${i}`)
      if (around.resource) {
        yield* Effect.acquireRelease(
          Effect.sync(() => {
            const serial = world.serial()
            world.note(`d acq ${i} #${serial}`)
            return serial
          }),
          (serial) => Effect.sync(() => world.note(`d rel ${i} #${serial}`))
        )
      }
      if (faults && around.dies === "before") return yield* Effect.die(`d${i}`)
      const settlement = yield* next(around.rewrites ? rewritten(delivery, i) : delivery)
      world.note(`d<${i}:${settlementLine(settlement)}`)
      if (faults && around.dies === "after") return yield* Effect.die(`d${i}`)
      return settlement
    }))

/** what decryption does: another payload, for this hand-out alone */
const rewritten = (delivery: Backend.Delivery, i: number): Backend.Delivery => {
  const { value } = JSON.parse(delivery.envelope.payload) as { readonly value: string }
  return { ...delivery, envelope: { ...delivery.envelope, payload: JSON.stringify({ value: `${value}.d${i}` }) } }
}

export interface Built {
  readonly task: Task.Task<"Laws", Schema.Struct<{ value: typeof Schema.String }>, typeof Schema.String, typeof Boom>
  readonly middleware: ReadonlyArray<Middleware.ForWorker>
  /** the handler and every implementation */
  readonly live: Layer.Layer<any>
  /** names in the order in which `Worker.describe` must give them */
  readonly names: ReadonlyArray<string>
}

/** how the same stack may be written down differently (L6) */
export interface Writing {
  /** the group's middleware in this many nested groups */
  readonly groups?: number
  /** so many middlewares that only run `next`, in every list */
  readonly identities?: number
  readonly concurrency?: number
  /** more observers, inside of those of the case */
  readonly observers?: ReadonlyArray<Middleware.ForWorker>
}

/** `extra` entries among the others, at both ends and between them */
const among = <A>(list: ReadonlyArray<A>, extra: ReadonlyArray<A>): ReadonlyArray<A> =>
  extra.reduce<Array<A>>((all, one, n) => all.toSpliced((n * 2) % (all.length + 1), 0, one), [...list])

export const build = (world: World, queue: string, writing: Writing = {}): Built => {
  const { spec } = world
  const implementations: Array<Layer.Layer<any>> = []
  const wraps = spec.mids.map((mid, i) => wrapOf(world, mid, i))
  const entry = (mid: Mid, i: number): Middleware.Any => {
    if (!mid.declared) return Middleware.make(`m${i}`, wraps[i])
    const service = mid.place === "worker"
      ? Middleware.Service<any>()(`m${i}`)
      : Middleware.Service<any>()(`m${i}`, { error: Boom })
    implementations.push(Layer.succeed(service as never, wraps[i] as never))
    return service as Middleware.Any
  }
  const entries = spec.mids.map((mid, i) => [mid, mid.place === "own" ? undefined : entry(mid, i)] as const)
  const of = (place: Mid["place"]) => entries.flatMap(([mid, m]) => mid.place === place && m !== undefined ? [m] : [])
  const identities = Array.from({ length: writing.identities ?? 0 }, (_, n) => `id${n}`)
  const inline = (place: string) =>
    identities.map((name, n) =>
      Middleware.make(`${place}-${name}`, n % 2 === 0 ? (next, input) => next(input) : Middleware.hooks({}))
    )
  const grouped = among(of("group"), inline("group"))
  const groups = writing.groups ?? 1
  let shared: any = TaskGroup.shared("g0", { queue })
  const size = Math.ceil(grouped.length / groups)
  for (let g = 0; g < groups; g++) {
    shared = shared.shared(`g${g + 1}`, { middleware: grouped.slice(g * size, (g + 1) * size) })
  }
  let task: any = shared.make("Laws", {
    payload: { value: Schema.String },
    success: Schema.String,
    error: Boom,
    middleware: among(of("task"), inline("task")),
    timeout: spec.timeout,
    runTimeout: spec.timeout === undefined ? undefined : "1 day",
    onInterrupted: spec.onInterrupted,
    retry: spec.retries === undefined
      ? undefined
      : Schedule.spaced(retryAfter).pipe(Schedule.upTo({ times: spec.retries }))
  })
  const own = among(
    spec.mids.flatMap((mid, i) => mid.place === "own" ? [wraps[i]] : []),
    identities.map(() => (next: (input: unknown) => Run, input: unknown) => next(input))
  )
  // each wrap stands around those before it, so the innermost comes first
  for (const wrap of own.toReversed()) task = task.wrap(wrap)
  const observers = Array.from({ length: spec.observers }, (_, i) =>
    Middleware.observe({
      name: `o${i}`,
      before: () => world.note(`o>${i}`),
      after: (outcome) => world.note(`o<${i}:${outcome._tag}`)
    }))
  const deliveries = spec.arounds.map((around, i) => deliveryOf(world, around, i))
  const live = implementations.reduce(
    (live, layer) => Layer.provideMerge(live, layer),
    task.toLayer(handlerOf(world)) as Layer.Layer<any>
  )
  return {
    task,
    middleware: [
      ...observers,
      ...(writing.observers ?? []),
      ...among(deliveries, identities.map((name) => Middleware.delivery(name, (next, delivery) => next(delivery)))),
      ...among(of("worker"), inline("worker"))
    ] as ReadonlyArray<Middleware.ForWorker>,
    live,
    names: [
      ...observers.map((o) => o.name),
      ...deliveries.map((d) => d.name),
      ...spec.mids.flatMap((mid, i) => mid.place === "own" ? [] : [`m${i}`]),
      ...own.map((_, n) => `Laws.wrap ${own.length - n}`)
    ]
  }
}
