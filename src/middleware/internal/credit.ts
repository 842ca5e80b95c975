/**
 * Tokens that were taken from a limiter and not used. The limiter cannot take them back, so they are kept here and used
 * first, for as long as they are worth something: a limiter that had never handed them out would be full again once it
 * has reset, and holds no more than its limit before that.
 */

/** What the limiter said when it handed tokens out. */
export interface Granted {
  readonly tokens: number
  /** what it holds less than its limit, these tokens included */
  readonly missing: number
  /** milliseconds on the caller's clock */
  readonly at: number
  /** milliseconds until the limiter is full again */
  readonly resetAfter: number
}

export class Credit {
  private count = 0
  private resetAt = 0
  private missing = 0
  private readonly refillMillis: number | undefined

  /** `refillMillis`: how long one token takes to come back; undefined when all come back at once, at the reset */
  constructor(refillMillis: number | undefined) {
    this.refillMillis = refillMillis
  }

  add(granted: Granted): void {
    this.trim(granted.at)
    this.count += granted.tokens
    this.resetAt = granted.at + granted.resetAfter
    this.missing = granted.missing
    this.trim(granted.at)
  }

  /** Tokens that were taken from here and not used either. */
  giveBack(tokens: number, now: number): void {
    this.count += tokens
    this.trim(now)
  }

  /** Up to `max` tokens. */
  take(max: number, now: number): number {
    this.trim(now)
    const taken = Math.min(max, this.count)
    this.count -= taken
    return taken
  }

  /** Nothing is left that is worth keeping. */
  isEmpty(now: number): boolean {
    this.trim(now)
    return this.count === 0 && now >= this.resetAt
  }

  private trim(now: number): void {
    const left = this.resetAt - now
    if (left <= 0) this.count = 0
    else {
      // a hair less, or the division's rounding makes one token too many
      const missing = this.refillMillis === undefined ? this.missing : Math.ceil(left / this.refillMillis - 1e-9)
      this.count = Math.min(this.count, missing)
    }
  }
}
