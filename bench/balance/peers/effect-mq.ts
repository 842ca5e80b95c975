/**
 * effect-mq: it has no middleware, so the handler is wrapped by hand with `Effect.acquireRelease`. Its worker runs handlers in
 * the scope of the worker; `Effect.scoped` around the handler gives every run a scope of its own. Both are looked at,
 * because both compile: the requirement `Scope` of the first ends at the `Effect.scoped` around the program's layers.
 */
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Logger, Option, Schema, type Scope } from "effect"
import { Job, JobStore, MemoryJobStore, Worker } from "effect-mq"
import { acquireFails, type Library, type Program, type Who } from "../program.ts"

class MailRejected extends Schema.TaggedError<MailRejected>()("MailRejected", { code: Schema.Number }) {
  override get message() {
    return "mail rejected"
  }
}
class NothingThere extends Schema.TaggedError<NothingThere>()("NothingThere", { text: Schema.String }) {}

class Send extends Job.make("Send", {
  payload: {},
  success: Schema.String,
  error: [MailRejected, NothingThere]
}) {}

type Handler<R> = Effect.Effect<string, MailRejected | NothingThere, R>

const middleware = <R>(program: Program, who: Who, next: Handler<R>): Handler<R | Scope.Scope> =>
  Effect.suspend(() => {
    if (program.answers(who)) return Effect.succeed("answered")
    const acquire = Effect.try({
      try: () => program.acquire(who),
      catch: () => new NothingThere({ text: acquireFails })
    })
    const release = Effect.andThen(Effect.sleep(program.releaseMillis), Effect.sync(() => program.released(who)))
    return Effect.andThen(Effect.acquireRelease(acquire, () => release), next)
  })

const telling = <R>(program: Program, self: Handler<R>): Handler<R> =>
  Effect.onExit(self, (exit) =>
    Effect.sync(() => {
      if (Exit.isFailure(exit)) program.told(Option.getOrElse(Cause.findErrorOption(exit.cause), () => exit.cause))
    }))

const body = (program: Program): Handler<never> =>
  Effect.suspend((): Handler<never> => {
    program.running()
    if (program.isCut) return Effect.onInterrupt(Effect.never, () => Effect.sleep("20 millis"))
    if (program.handlerFails) return Effect.fail(new MailRejected({ code: 550 }))
    return Effect.succeed("sent")
  }).pipe(Effect.onExit(() => Effect.sync(() => program.ended())))

const asItIs = (program: Program): Handler<Scope.Scope> =>
  middleware(program, "A", telling(program, middleware(program, "B", middleware(program, "C", body(program)))))

const scoped = (program: Program): Handler<never> =>
  Effect.scoped(middleware(
    program,
    "A",
    telling(
      program,
      Effect.scoped(middleware(program, "B", Effect.scoped(middleware(program, "C", body(program)))))
    )
  ))

/** what became of the job, noted when the store is told */
const noting = (program: Program, submitted: Deferred.Deferred<void>) =>
  Layer.effect(
    JobStore.JobStore,
    Effect.map(JobStore.JobStore, (store) => {
      const note = (how: "succeeded" | "failed" | "cancelled" | "given back") =>
        Effect.andThen(Effect.sync(() => program.settled(how)), Deferred.succeed(submitted, undefined))
      return {
        ...store,
        ack: (id: never, token: never, outcome: { readonly _tag: string }) =>
          Effect.andThen(
            note(
              outcome._tag === "Complete"
                ? "succeeded"
                : outcome._tag === "Cancelled"
                ? "cancelled"
                : outcome._tag === "Retry"
                ? "given back"
                : "failed"
            ),
            store.ack(id, token, outcome as never)
          ),
        release: (id: never, token: never) => Effect.andThen(note("given back"), store.release(id, token))
      }
    }) as never
  )

const run = (handler: (program: Program) => Handler<Scope.Scope>) => (program: Program): Promise<void> =>
  Effect.gen(function*() {
    const submitted = yield* Deferred.make<void>()
    const live = Send.toLayer(() => handler(program)).pipe(
      // a cancellation is delivered with the heartbeat, half of 30 seconds unless set
      Layer.provide(Worker.layer({ lockRenewInterval: "50 millis" })),
      Layer.provide(noting(program, submitted))
    )
    const fiber = yield* Effect.forkChild(Effect.scoped(Layer.launch(live)))
    if (program.isCut) {
      const id = yield* Send.enqueue({})
      yield* Effect.promise(() => program.atWork)
      if (program.name === "shutdown") yield* Fiber.interrupt(fiber)
      else yield* Send.cancel(id)
      yield* Deferred.await(submitted)
    } else {
      const exit = yield* Effect.exit(Send.execute({}))
      if (Exit.isFailure(exit)) program.heard(Option.getOrElse(Cause.findErrorOption(exit.cause), () => exit.cause))
    }
    program.closing()
    yield* Fiber.interrupt(fiber)
    program.closed()
  }).pipe(
    Effect.provide(Layer.merge(MemoryJobStore.layer, Logger.layer([]))),
    Effect.runPromise as never
  ) as unknown as Promise<void>

const leavesOut = { "goes on later": "a handler can only fail and be tried again" }
const isIt = (u: unknown) => u instanceof MailRejected && u.code === 550

export const libraries: ReadonlyArray<Library> = [
  {
    name: "effect-mq",
    how: "the handler wrapped by hand, `Effect.acquireRelease` as it is; its memory store",
    leavesOut,
    isIt,
    run: run(asItIs)
  },
  {
    name: "effect-mq, scoped by hand",
    how: "the same with `Effect.scoped` around every middleware",
    leavesOut,
    isIt,
    run: run(scoped)
  }
]
