/**
 * Keeps the background work of all requests, so that a shutdown can wait for it.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Deferred from "effect/Deferred"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Option from "effect/Option"
import * as Scope from "effect/Scope"
import { Transactional } from "../../Capability.ts"
import type { AddOptions, BackgroundTasks, Observer, Options } from "../BackgroundTasks.ts"
import { outsideOfTransactions } from "./context.ts"
import { Pass, type Rules } from "./pass.ts"
import { watch } from "./sent.ts"

/** how long an interrupted task may take to unwind before the shutdown goes on without it */
const stuckAfter = "10 seconds"

export class Supervising {
  private readonly rules: Rules
  private readonly observers = new Set<Observer>()
  private readonly passes = new Set<Pass>()
  private isClosed = false
  private readonly key: typeof BackgroundTasks
  private readonly notStored: (cause: unknown) => unknown

  /** `notStored` makes what a request dies with when one of its jobs could not be stored */
  constructor(options: Options, key: typeof BackgroundTasks, notStored: (cause: unknown) => unknown) {
    this.key = key
    this.notStored = notStored
    this.rules = {
      policy: options.policy ?? "continue",
      onFailure: options.onFailure ?? "drop",
      isFailure: options.isFailure ?? (({ status }) => status >= 400)
    }
  }

  readonly observe = (observer: Observer): Effect.Effect<void, never, Scope.Scope> =>
    Effect.asVoid(Effect.acquireRelease(
      Effect.sync(() => this.observers.add(observer)),
      () => Effect.sync(() => this.observers.delete(observer))
    ))

  readonly handle = <E, R>(
    app: Effect.Effect<HttpServerResponse, E, R>
  ): Effect.Effect<HttpServerResponse, E, Exclude<R, BackgroundTasks> | HttpServerRequest | Scope.Scope> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.contextWith((context: Context.Context<Exclude<R, BackgroundTasks> | HttpServerRequest | Scope.Scope>) => {
        // twice in one stack: the outermost has the request
        if (context.mapUnsafe.has(this.key.key)) {
          return restore(Effect.provideContext(app, context as Context.Context<R>))
        }
        const request = Context.get(context, HttpServerRequest)
        const serverScope = Context.get(context, Scope.Scope)
        const pass = new Pass(request, this.rules)
        const tell = Array.from(this.observers, (observer) => observer(request))
        const inside = context.pipe(
          Context.add(this.key, this.tasksOf(pass)),
          Context.add(Scope.Scope, pass.scope)
        ) as Context.Context<R>
        this.passes.add(pass)
        const answered = restore(Effect.provideContext(app, inside))
        return Effect.onExit(
          Effect.flatMap(answered, (response) => pass.returned(response)),
          (exit) => Effect.andThen(pass.decide(exit), this.begin(pass, exit, serverScope, tell))
        )
      })
    )

  /** the reply is decided; what follows it goes on in a fiber that no client and no server interrupts */
  private begin(
    pass: Pass,
    exit: Exit.Exit<HttpServerResponse, unknown>,
    serverScope: Scope.Scope,
    tell: ReadonlyArray<ReturnType<Observer>>
  ): Effect.Effect<void> {
    const end = this.end(pass, () => {
      for (const observer of tell) observer?.(pass.report)
    })
    // nothing waits for the last byte, and no body that is still to be produced can change that
    if (pass.isIdle && !(Exit.isSuccess(exit) && exit.value.body._tag === "Stream")) {
      return Effect.andThen(Scope.close(pass.scope, exit), end)
    }
    return Effect.flatMap(
      watch(pass.request, serverScope),
      (sent) => this.fork(pass, Effect.ensuring(pass.work(Deferred.await(sent), exit), end))
    )
  }

  /** over, unless somebody added a task at the last moment */
  private end(pass: Pass, tell?: () => void): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (pass.hasTasks) return Effect.andThen(pass.rest, this.end(pass, tell))
      pass.end()
      this.passes.delete(pass)
      tell?.()
      return Effect.void
    })
  }

  private fork(pass: Pass, work: Effect.Effect<void>): Effect.Effect<void> {
    // uninterruptible before it begins: cut at once, it still closes the request's scope
    return Effect.map(
      Effect.forkDetach(work, { uninterruptible: true }),
      (fiber) => pass.started(() => fiber.interruptUnsafe())
    )
  }

  /** what was added to a request that is over, by a fiber that outlived it */
  private late(pass: Pass): Effect.Effect<void> {
    if (this.isClosed) pass.stop()
    pass.reopen()
    this.passes.add(pass)
    return this.fork(pass, this.end(pass))
  }

  private tasksOf(pass: Pass): BackgroundTasks["Service"] {
    const add = <A, E, R>(
      task: Effect.Effect<A, E, R>,
      options: AddOptions = {}
    ): Effect.Effect<void, never, Exclude<R, Scope.Scope>> =>
      Effect.contextWith((context: Context.Context<Exclude<R, Scope.Scope>>) => {
        const known = outsideOfTransactions(context)
        const within = (effect: Effect.Effect<void>) => Effect.provideContext(effect, known)
        const run = Effect.provideContext(Effect.scoped(task), known)
        const name = options.name ?? pass.nextName()
        const isOver = pass.phase === "ended"
        pass.add({ name, onFailure: options.onFailure, run, within }, options.first === true)
        return isOver ? this.late(pass) : Effect.void
      })
    const enqueue = <A, E, R>(call: Effect.Effect<A, E, R>): Effect.Effect<void, never, R> =>
      Effect.contextWith((context: Context.Context<R>) => {
        const stored = Effect.asVoid(Effect.catchCause(call, (cause) =>
          Cause.hasInterruptsOnly(cause)
            ? Effect.failCause(cause as Cause.Cause<never>)
            : Effect.die(this.notStored(Cause.squash(cause)))))
        return Effect.flatMap(isInTransaction, (isInside) => {
          if (isInside || pass.phase !== "handling") return stored
          pass.defer(Effect.provideContext(stored, outsideOfTransactions(context)))
          return Effect.void
        })
      })
    return { add, enqueue }
  }

  /** waits for what is under way, then cuts it; `grace` is for all together */
  shutdown(grace: Duration.Duration): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      this.isClosed = true
      yield* Effect.timeoutOption(this.idle, grace)
      if (this.passes.size === 0) return
      for (const pass of this.passes) pass.stop()
      yield* Effect.timeoutOption(this.idle, stuckAfter)
      if (this.passes.size === 0) return
      const stuck = Array.from(this.passes, ({ name }) => name).join(", ")
      yield* Effect.logError(`background tasks are stuck: interrupted, and not over after ${stuckAfter}: ${stuck}`)
    }).pipe(Effect.interruptible)
  }

  private readonly idle: Effect.Effect<void> = Effect.suspend(() =>
    this.passes.size === 0
      ? Effect.void
      : Effect.andThen(Effect.forEach(Array.from(this.passes), (pass) => pass.await, { discard: true }), this.idle)
  )
}

const isInTransaction = Effect.flatMap(
  Effect.serviceOption(Transactional),
  (transactional) => Option.isNone(transactional) ? Effect.succeed(false) : transactional.value.isOpen
)
