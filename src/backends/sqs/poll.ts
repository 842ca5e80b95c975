/**
 * Long polls, one at a time: SQS answers when there is something, or after so many seconds, and then the next one starts as
 * long as somebody waits.
 *
 * Who stops waiting does not break the poll off: SQS might be answering it just then, and what is in an answer that nobody
 * reads stays away until its lease ends. The poll goes on, the next who waits joins it, and what comes while nobody does is
 * given back after a moment. Only the end of the subscription breaks it off.
 *
 * @since 0.1.0
 */
import type { Message } from "@aws-sdk/client-sqs"
import * as Effect from "effect/Effect"
import type { BackendError } from "../../Backend.ts"
import type { Engine } from "./engine.ts"
import { fromCause } from "./errors.ts"
import { entries } from "./limits.ts"
import type { Known } from "./queues.ts"
import { receiveCommand } from "./receive.ts"

/** milliseconds: what is answered sooner with nothing was not waited for */
const pause = 500

type Resume = (effect: Effect.Effect<void, BackendError>) => void

export class Poll {
  private readonly engine: Engine
  private readonly known: Known
  private readonly receive: (messages: ReadonlyArray<Message>) => void
  private readonly waiting = new Set<Resume>()
  private running: AbortController | undefined
  private timer: NodeJS.Timeout | undefined

  /** `receive` is given what came, and calls `wake` when it can be taken */
  constructor(
    engine: Engine,
    known: Known,
    options: { readonly receive: (messages: ReadonlyArray<Message>) => void }
  ) {
    this.engine = engine
    this.known = known
    this.receive = options.receive
  }

  /** until there is something to take; who joins a poll gets what it brings, whatever was asked for by the first */
  wait(max: number): Effect.Effect<void, BackendError> {
    return Effect.callback<void, BackendError>((resume) => {
      this.waiting.add(resume)
      if (this.running === undefined) this.start(max)
      return Effect.sync(() => void this.waiting.delete(resume))
    })
  }

  wake(): void {
    this.end(Effect.void)
  }

  close(): void {
    this.wake()
    clearTimeout(this.timer)
    this.running?.abort()
  }

  private start(max: number): void {
    const { calls, wait } = this.engine
    const controller = this.running = new AbortController()
    const startedAt = performance.now()
    const size = Math.max(1, Math.min(entries, Math.floor(max)))
    // a server that is gone without a word must not be waited for without end
    const timer = setTimeout(() => controller.abort(), wait * 1000 + calls.timeout)
    calls.client.send(receiveCommand(this.engine, this.known.url, size, wait), { abortSignal: controller.signal }).then(
      ({ Messages }) => {
        clearTimeout(timer)
        this.running = undefined
        if (Messages !== undefined && Messages.length > 0) this.receive(Messages)
        else if (performance.now() - startedAt > pause) this.next(max)
        // a server that does not wait is not asked without a pause
        else this.timer = setTimeout(() => this.next(max), pause)
      },
      (cause: unknown) => {
        clearTimeout(timer)
        this.running = undefined
        this.end(Effect.fail(fromCause(calls.name, "await", this.known.queue, cause)))
      }
    )
  }

  private next(max: number): void {
    if (this.waiting.size > 0 && this.running === undefined) this.start(max)
  }

  private end(effect: Effect.Effect<void, BackendError>): void {
    const waiting = Array.from(this.waiting)
    this.waiting.clear()
    for (const resume of waiting) resume(effect)
  }
}
