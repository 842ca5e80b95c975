/**
 * How often those who wait look by themselves: soon after something happened, because hints are sent sparingly, and less
 * often the longer nothing does.
 *
 * @since 0.1.0
 */
import type { Listen } from "./listen.ts"

/** milliseconds */
const shortest = 5
/** the pause is this fraction of the time since something happened last */
const fraction = 4

export class Pace {
  private readonly listen: Listen | undefined
  private readonly longest: number
  /** where no hints are heard */
  private readonly deaf: number
  private since = performance.now()

  constructor(listen: Listen | undefined, longest: number) {
    this.listen = listen
    this.longest = longest
    this.deaf = Math.min(longest, 250)
  }

  happened(): void {
    this.since = performance.now()
  }

  /** milliseconds until the next look */
  pause(): number {
    const quiet = performance.now() - this.since
    return Math.min(Math.max(shortest, quiet / fraction), this.listen?.up === true ? this.longest : this.deaf)
  }
}
