/**
 * `NOTIFY`, sparingly. A transaction that notifies takes a lock at its commit that all databases of the server share, so
 * parallel commits come one after another: at full rate that costs three quarters of the throughput. So a hint is sent
 * with a statement only while there are tokens for it; what was held back is sent a moment later by itself, several hints
 * in one. A hint that never arrives costs a poll.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { Calls } from "./calls.ts"

/** hints in a row without a pause: jobs that come one by one after silence are all announced at once */
const burst = 256
/** and per second from then on */
const rate = 100
/** milliseconds between two hints, and after which a hint that was held back is sent */
const spacing = 2
const trailing = 10

export class Hints {
  private readonly calls: Calls
  private readonly enabled: boolean
  private readonly fork: (effect: Effect.Effect<void>) => void
  private tokens = burst
  private refilled = performance.now()
  private last = -Infinity
  private readonly held = new Set<string>()
  private timer = false

  constructor(calls: Calls, enabled: boolean, fork: (effect: Effect.Effect<void>) => void) {
    this.calls = calls
    this.enabled = enabled
    this.fork = fork
  }

  /** the payload that a statement is to send, or null: then the hint comes later by itself, if there are hints at all */
  now(topic: string): string | null {
    if (!this.enabled) return null
    if (this.spend()) return topic
    this.later(topic)
    return null
  }

  /** sent apart from any statement: after a commit of the user's transaction */
  later(topic: string): void {
    if (!this.enabled) return
    this.held.add(topic)
    if (this.timer) return
    this.timer = true
    this.fork(this.send)
  }

  private spend(): boolean {
    const now = performance.now()
    this.tokens = Math.min(burst, this.tokens + (now - this.refilled) * rate / 1000)
    this.refilled = now
    if (this.tokens < 1 || now - this.last < spacing) return false
    this.tokens--
    this.last = now
    return true
  }

  private readonly send: Effect.Effect<void> = Effect.suspend(() => this.spend() ? Effect.void : Effect.sleep(trailing))
    .pipe(
      Effect.andThen(Effect.suspend(() => {
        const topics = Array.from(this.held).join()
        this.held.clear()
        this.timer = false
        return this.calls.run("notify", "SELECT pg_notify($1, $2)", [this.calls.names.channel, topics])
      })),
      // nobody asked for it, and a poll does the same
      Effect.catch((error) => Effect.logDebug("windlass: a hint was not sent", error)),
      Effect.asVoid
    )
}
