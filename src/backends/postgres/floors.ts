/**
 * Where a claim begins to look. What was claimed leaves dead rows at the head of the index, and a claim that walks over
 * them gets slower and slower while an old transaction keeps vacuum from removing them. So a claim begins, rank by rank,
 * where the last one ended.
 *
 * Positions are given out before the commit, so a job may appear below the floor. Now and then a claim looks everywhere:
 * every second, and as long as that costs a small part of the time whenever a claim found less than it asked for, and
 * after every transaction of a user that enqueued.
 *
 * @since 0.1.0
 */

/** milliseconds */
const atLeastEvery = 1_000
/** looking everywhere may take one part in so many of the time: for want of anything else, and because something is there */
const share = { idle: 20, late: 2 }

const everywhere: ReadonlyMap<number, number> = new Map()

export class Floors {
  private readonly floors = new Map<number, number>()
  private lookedAt = -Infinity
  private cost = 0
  private short = true
  private late = false
  private began = false

  /** jobs with old positions appeared */
  expect(): void {
    this.late = true
  }

  /** whether jobs with old positions appeared and no claim has looked for them yet */
  get pending(): boolean {
    return this.late
  }

  /** whether the last claim may have left out what lies below where it began */
  get leftOut(): boolean {
    return this.began
  }

  /** the next claim looks everywhere */
  everywhereNext(): void {
    this.lookedAt = -Infinity
  }

  /** the floors for a claim that is made now */
  next(now: number): ReadonlyMap<number, number> {
    const part = this.late ? share.late : this.short ? share.idle : Infinity
    const pause = Math.min(atLeastEvery, this.cost * part)
    return now - this.lookedAt >= pause ? everywhere : this.floors
  }

  claimed(
    used: ReadonlyMap<number, number>,
    last: ReadonlyMap<number, number>,
    short: boolean,
    from: number,
    to: number
  ) {
    this.short = short
    this.began = used.size > 0
    if (used === everywhere) {
      this.lookedAt = to
      this.cost = to - from
      this.late = false
      // a job that was late may have been the last one: what lies above it is found again at once
      this.floors.clear()
    }
    for (const [rank, pos] of last) this.floors.set(rank, Math.max(pos + 1, this.floors.get(rank) ?? 0))
  }
}
