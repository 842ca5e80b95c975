/**
 * The background work of one request, from its arrival until its last task and its scope are over:
 *
 * `handling` -> the reply is decided -> `waiting` for its last byte -> `running` the tasks -> the request's scope is
 * closed -> `ended`.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Reporter from "effect/ErrorReporter"
import * as Exit from "effect/Exit"
import { ClientAbort } from "effect/http/HttpServerError"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import type { HttpServerResponse } from "effect/http/HttpServerResponse"
import * as Scope from "effect/Scope"
import type { Report, TaskFailure } from "../BackgroundTasks.ts"

/** One task as it was added: it needs nothing any more. */
export interface Queued {
  readonly name: string
  readonly onFailure: "drop" | "run" | undefined
  /** the task in the context in which it was added */
  readonly run: Effect.Effect<unknown, unknown>
  /** gives an effect that context, for logs and reports */
  readonly within: (effect: Effect.Effect<void>) => Effect.Effect<void>
}

export interface Rules {
  readonly policy: "continue" | "failFast"
  readonly onFailure: "drop" | "run"
  readonly isFailure: (response: HttpServerResponse) => boolean
}

/** Logs as they are wanted, and never lets a logger decide what becomes of the work. */
const quietly = (effect: Effect.Effect<void>): Effect.Effect<void> => Effect.asVoid(Effect.exit(effect))

/** The client went away: the handler did not fail, it was not waited for. */
export const isClientGone = (exit: Exit.Exit<unknown, unknown>): boolean =>
  Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause)
  && exit.cause.reasons.some((reason) => reason.annotations.has(ClientAbort.key))

/** how logs call a request: without its query, which may hold what nobody should read */
export const nameOf = (request: HttpServerRequest): string => `${request.method} ${request.url.split(/[?#]/)[0]}`

export class Pass {
  phase: "handling" | "waiting" | "running" | "ended" = "handling"
  /** resources of the request, open for its tasks and closed after them */
  readonly scope: Scope.Closeable = Scope.makeUnsafe()
  readonly request: HttpServerRequest
  private readonly rules: Rules
  private over = Deferred.makeUnsafe<void>()
  private isCut = false
  private isRefusal = false
  private interrupt: (() => void) | undefined
  private added = 0
  private ran = 0
  private readonly queue: Array<Queued> = []
  private readonly deferred: Array<Effect.Effect<void>> = []
  private readonly failures: Array<TaskFailure> = []
  private readonly skipped: Array<string> = []
  private readonly dropped: Array<string> = []
  private readonly cut: Array<string> = []

  constructor(request: HttpServerRequest, rules: Rules) {
    this.request = request
    this.rules = rules
  }

  get name(): string {
    return nameOf(this.request)
  }

  get await(): Effect.Effect<void> {
    return Deferred.await(this.over)
  }

  get hasTasks(): boolean {
    return this.queue.length > 0
  }

  get isIdle(): boolean {
    return !this.hasTasks && this.scope.state._tag === "Empty"
  }

  nextName(): string {
    return `task ${this.added + 1}`
  }

  add(task: Queued, first: boolean): void {
    this.added++
    if (first) this.queue.unshift(task)
    else this.queue.push(task)
  }

  /** an enqueue that waits for the handler's success */
  defer(enqueue: Effect.Effect<void>): void {
    this.deferred.push(enqueue)
  }

  /** a reply was returned: if it is no failure, what was deferred is stored; the first enqueue that dies is the answer */
  returned(response: HttpServerResponse): Effect.Effect<HttpServerResponse> {
    return Effect.suspend(() => {
      this.isRefusal = this.rules.isFailure(response)
      return this.isRefusal ? Effect.succeed(response) : Effect.as(this.store, response)
    })
  }

  /** one after another, those that they add as well */
  private readonly store: Effect.Effect<void> = Effect.suspend(() => {
    const enqueue = this.deferred.shift()
    if (enqueue !== undefined) return Effect.andThen(enqueue, this.store)
    // a fiber of the handler may enqueue between here and the reply: from now on that is done at once
    this.phase = "waiting"
    return Effect.void
  })

  /** the reply is decided: tasks of a request that failed stay or go as they say, else as the rules say */
  decide(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    this.phase = "waiting"
    return Effect.andThen(this.forgetEnqueues, this.forgetTasks(exit))
  }

  /** those of a handler that did not succeed */
  private readonly forgetEnqueues: Effect.Effect<void> = Effect.suspend(() => {
    const count = this.deferred.splice(0).length
    return count === 0 ? Effect.void : quietly(Effect.logInfo(
      `${count} enqueues of ${this.name} were not done, because the request failed`
    ))
  })

  private forgetTasks(exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    if (Exit.isSuccess(exit) ? !this.isRefusal : isClientGone(exit)) return Effect.void
    const tasks = this.queue.splice(0)
    const stays = (task: Queued) => (task.onFailure ?? this.rules.onFailure) === "run"
    this.queue.push(...tasks.filter(stays))
    const gone = tasks.filter((task) => !stays(task))
    if (gone.length === 0) return Effect.void
    this.dropped.push(...gone.map((task) => task.name))
    return quietly(Effect.logInfo(
      `background tasks of ${this.name} were dropped, because the request failed: ${this.dropped.join(", ")}`
    ))
  }

  /**
   * Waits until the reply is sent, runs the tasks, closes the scope, and runs what was added meanwhile. For a fiber that
   * is uninterruptible from its start: what interrupts it lands in the waiting and in the tasks
   */
  work(sent: Effect.Effect<void>, exit: Exit.Exit<unknown, unknown>): Effect.Effect<void> {
    return Effect.exit(Effect.interruptible(sent)).pipe(
      Effect.andThen(this.drain),
      Effect.andThen(Effect.exit(Scope.close(this.scope, exit))),
      Effect.flatMap((closed) =>
        Exit.isSuccess(closed) ? Effect.void : this.failed("the request's scope", closed.cause)
      ),
      // a finalizer of the request may have added some
      Effect.andThen(this.drain),
      Effect.andThen(this.logCut)
    )
  }

  /** what was added after everything was over; for a fiber of the same kind */
  get rest(): Effect.Effect<void> {
    return Effect.andThen(this.drain, this.logCut)
  }

  private readonly drain: Effect.Effect<void> = Effect.gen({ self: this }, function*() {
    this.phase = "running"
    for (let task = this.queue.shift(); task !== undefined; task = this.queue.shift()) {
      // once it is cut, nothing that is interruptible begins
      const exit = yield* Effect.exit(Effect.interruptible(task.run))
      if (this.isCut && Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)) {
        this.cut.push(task.name)
        continue
      }
      this.ran++
      if (Exit.isSuccess(exit)) continue
      yield* this.failed(task.name, exit.cause, task.within)
      if (this.rules.policy === "failFast" && this.queue.length > 0) {
        const skipped = this.queue.splice(0).map(({ name }) => name)
        this.skipped.push(...skipped)
        yield* quietly(Effect.logWarning(
          `background tasks of ${this.name} were skipped, because "${task.name}" failed: ${skipped.join(", ")}`
        ))
      }
    }
  })

  private failed(
    task: string,
    cause: Cause.Cause<unknown>,
    within: Queued["within"] = (effect) => effect
  ): Effect.Effect<void> {
    this.failures.push({ task, cause })
    return quietly(within(Effect.andThen(
      Effect.logError(`background work "${task}" of ${this.name} failed; the reply was not changed by it`, cause),
      Reporter.report(cause)
    )))
  }

  private readonly logCut: Effect.Effect<void> = Effect.suspend(() => {
    const cut = this.cut
    return cut.length === 0 ? Effect.void : quietly(Effect.logError(
      `background tasks of ${this.name} did not end before the shutdown's deadline and were cut: ${cut.join(", ")}`
    ))
  })

  /** the deadline of the shutdown is over: what runs is interrupted, what waits does not begin */
  stop(): void {
    this.isCut = true
    this.interrupt?.()
  }

  started(interrupt: () => void): void {
    this.interrupt = interrupt
    if (this.isCut) interrupt()
  }

  /** it was over, and a task was added nevertheless: it is under way again */
  reopen(): void {
    this.phase = "running"
    this.over = Deferred.makeUnsafe<void>()
  }

  end(): void {
    this.phase = "ended"
    this.interrupt = undefined
    Deferred.doneUnsafe(this.over, Effect.void)
  }

  get report(): Report {
    const { cut, dropped, failures, ran, request, skipped } = this
    return { request, ran, failures: [...failures], skipped: [...skipped], dropped: [...dropped], cut: [...cut] }
  }
}
