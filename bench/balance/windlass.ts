/** Ours, on the memory backend: `Middleware.hooks` with `acquireRelease` in `before`, and `Task.execute` to wait for the end. */
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Schema, type Scope } from "effect"
import { Backend } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Enqueue from "windlass/Enqueue"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { acquireFails, type Library, type Program, type Who } from "./program.ts"

class MailRejected extends Schema.TaggedError<MailRejected>()("MailRejected", { code: Schema.Number }) {
  override get message() {
    return "mail rejected"
  }
}
class NothingThere extends Schema.TaggedError<NothingThere>()("NothingThere", { text: Schema.String }) {}

class A extends Middleware.Service<A>()("balance/A") {}
class B extends Middleware.Service<B>()("balance/B", { error: NothingThere }) {}
class C extends Middleware.Service<C>()("balance/C") {}

class Send extends Task.make("Send", {
  success: Schema.String,
  error: MailRejected,
  middleware: [A, B, C] // first = outermost
}) {}

const resource = (program: Program, who: Who) =>
  Effect.acquireRelease(
    Effect.try({
      try: () => program.acquire(who),
      catch: () => new NothingThere({ text: acquireFails })
    }),
    () => Effect.andThen(Effect.sleep(program.releaseMillis), Effect.sync(() => program.released(who)))
  )

const holding = (program: Program, who: "A" | "C") =>
  Middleware.hooks({
    before: () => Effect.orDie(resource(program, who)),
    after: (exit) =>
      Effect.sync(() => {
        if (who === "A" && Exit.isFailure(exit)) program.told(Option.getOrUndefined(Cause.findErrorOption(exit.cause)))
      })
  })

const live = (program: Program) =>
  Layer.mergeAll(
    Layer.succeed(A, holding(program, "A")),
    Layer.succeed(
      B,
      Middleware.hooks({
        before: (): Effect.Effect<void, NothingThere | Decide.Decide, Scope.Scope> =>
          program.answers("B") ? Effect.fail(Decide.discard("answered early")) : resource(program, "B")
      })
    ),
    Layer.succeed(C, holding(program, "C"))
  )

const handler = (program: Program) => {
  let attempts = 0
  return Send.toLayer(() =>
    Effect.suspend((): Effect.Effect<string, MailRejected | Decide.Decide> => {
      program.running()
      attempts++
      if (program.name === "goes on later" && attempts === 1) return Effect.fail(Decide.snooze("10 millis"))
      if (program.isCut) return Effect.onInterrupt(Effect.never, () => Effect.sleep("20 millis"))
      if (program.handlerFails) return Effect.fail(new MailRejected({ code: 550 }))
      return Effect.succeed("sent")
    }).pipe(Effect.onExit(() => Effect.sync(() => program.ended())))
  )
}

/** what became of the job, in the words of the table, noted when the backend is told and not a moment later */
const noting = (program: Program, submitted: Deferred.Deferred<string>) =>
  Layer.effect(
    Backend,
    Effect.map(Backend, (backend) => {
      const note = (items: ReadonlyArray<readonly [unknown, { readonly _tag: string; readonly why?: string }]>) =>
        Effect.forEach(items, ([, settlement]) =>
          settlement.why === "snoozed"
            ? Effect.void
            : Effect.andThen(
              Effect.sync(() => settledAs(program, settlement)),
              Deferred.succeed(submitted, settlement._tag)
            ), { discard: true })
      return {
        ...backend,
        subscribe: (queue, options) =>
          Effect.map(backend.subscribe(queue, options), (inner) => ({
            ...inner,
            settle: (items) => Effect.andThen(note(items), inner.settle(items)),
            exchange: (items, max) => Effect.andThen(note(items), inner.exchange(items, max))
          }))
      }
    })
  )

const settledAs = (program: Program, { _tag, how }: { readonly _tag: string; readonly how?: string }) =>
  program.settled(
    _tag === "Retry"
      ? "given back"
      : _tag === "Dead"
      ? "failed"
      : how === "aborted"
      ? "cancelled"
      : how === "discarded"
      ? "discarded"
      : "succeeded"
  )

export const run = (program: Program): Promise<void> =>
  Effect.gen(function*() {
    const submitted = yield* Deferred.make<string>()
    const worker = Worker.layer(TaskGroup.make(Send), {
      concurrency: 1,
      shutdownGrace: "20 millis",
      middleware: []
    }).pipe(
      Layer.provide(handler(program)),
      Layer.provide(live(program)),
      Layer.provide(noting(program, submitted))
    )
    const fiber = yield* Effect.forkChild(Worker.launch(worker))
    if (program.isCut) {
      yield* Send.enqueue(undefined).pipe(Enqueue.id("job"))
      yield* Effect.promise(() => program.atWork)
      if (program.name === "shutdown") yield* Fiber.interrupt(fiber)
      else {
        yield* Effect.flatMap(Capability.Cancel, (cancel) => cancel.request("job"))
        yield* Deferred.await(submitted)
      }
    } else {
      const exit = yield* Effect.exit(Send.execute(undefined))
      if (Exit.isFailure(exit)) program.heard(Option.getOrElse(Cause.findErrorOption(exit.cause), () => exit.cause))
    }
    program.closing()
    yield* Fiber.interrupt(fiber)
    program.closed()
  }).pipe(
    Effect.provide(Layer.merge(MemoryBackend.layer, Logger.layer([]))),
    Effect.runPromise
  )

export const libraries: ReadonlyArray<Library> = [{
  name: "Windlass",
  how: "`Middleware.hooks` with `Effect.acquireRelease` in `before`; the worker on the memory backend",
  leavesOut: {},
  isIt: (u) => u instanceof MailRejected && u.code === 550,
  run
}]
