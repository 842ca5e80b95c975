/**
 * What everybody said about every job, and what follows from it: how many were lost, how many ran twice, and how long it
 * took until those that a fault hit were done.
 */
export class Ledger {
  /** `ID LIFE ATTEMPT` -> how often its handler was entered */
  private readonly runs = new Map<string, number>()
  /** `ID LIFE` of jobs whose success a worker was told is settled -> how often */
  private readonly settled = new Map<string, number>()
  /** id -> life -> when its handler had succeeded first, `Infinity` before that */
  private readonly lives = new Map<string, Map<string, number>>()
  private readonly doneAt = new Map<string, number>()
  /** claimed, and not settled since as far as its worker knows -> by whom */
  private readonly open = new Map<string, string>()
  /** as `open`, and its handler was entered */
  private readonly entered = new Set<string>()
  private readonly settledAt: Array<number> = []
  /** workers that had no processor for so long that a lease may have ended for it */
  private readonly starved = new Set<string>()
  /** worker -> id -> how often it was claimed */
  private readonly claims = new Map<string, Map<string, number>>()
  /** worker -> the claims, as `ID NUMBER`, that it lost after it had starved */
  private readonly lostStarved = new Map<string, Set<string>>()
  readonly lines: Array<string> = []
  private readonly waiting = new Set<() => void>()

  hear(worker: string, line: string): void {
    const at = performance.now()
    const [what, id = "", ...rest] = line.split(" ")
    switch (what) {
      case "claimed":
        for (const one of [id, ...rest]) {
          const claims = this.claims.get(worker) ?? new Map<string, number>()
          this.claims.set(worker, claims)
          raise(claims, one)
          this.open.set(one, worker)
          this.entered.delete(one)
        }
        break
      case "run":
        this.entered.add(id)
        raise(this.runs, `${id} ${rest[1]} ${rest[0]}`)
        this.lived(id, rest[1]!, Infinity)
        break
      case "done":
        this.doneAt.set(id, at)
        this.lived(id, rest[1]!, Number(rest[2]))
        break
      case "lost":
        this.loses(worker, id)
        break
      case "starved":
        this.starved.add(worker)
        break
      case "answer":
        if (rest[1] === "Lost") this.loses(worker, id)
        if (rest[1] === "Settled") {
          this.open.delete(id)
          this.entered.delete(id)
          this.settledAt.push(at)
          if (rest[0] === "Complete") raise(this.settled, `${id} ${rest[2]}`)
        }
        break
    }
    if (what !== "claimed") this.lines.push(`${worker}: ${line}`)
    for (const look of Array.from(this.waiting)) look()
  }

  /** calls `look` whenever something is heard, until the function that it returns is called */
  follow(look: () => void): () => void {
    this.waiting.add(look)
    return () => void this.waiting.delete(look)
  }

  private lived(id: string, life: string, doneAt: number): void {
    const lives = this.lives.get(id) ?? new Map<string, number>()
    lives.set(life, Math.min(lives.get(life) ?? Infinity, doneAt))
    this.lives.set(id, lives)
  }

  /** when the handler had succeeded in each of the lives of an id, first life first */
  livesOf(id: string): ReadonlyArray<number> {
    return Array.from(this.lives.get(id) ?? []).sort(([a], [b]) => Number(a) - Number(b)).map(([, doneAt]) => doneAt)
  }

  /**
   * Deliveries that workers lost because the machine was too busy for a lease of so few seconds, as far as the worker was
   * not the fault's own victim. Each of them may repeat one entry.
   */
  starvedBeside(victims: ReadonlySet<string>): number {
    let count = 0
    for (const [worker, claims] of this.lostStarved) if (!victims.has(worker)) count += claims.size
    return count
  }

  private loses(worker: string, id: string): void {
    if (!this.starved.has(worker)) return
    const claims = this.lostStarved.get(worker) ?? new Set<string>()
    this.lostStarved.set(worker, claims.add(`${id} ${this.claims.get(worker)?.get(id)}`))
  }

  /** entries into a handler beyond the one that every attempt of a life needs */
  get duplicates(): number {
    let count = 0
    for (const runs of this.runs.values()) count += runs - 1
    return count
  }

  get settledTwice(): ReadonlyArray<string> {
    return Array.from(this.settled).filter(([, times]) => times > 1).map(([id]) => id)
  }

  get doneCount(): number {
    return this.doneAt.size
  }

  isDone(id: string): boolean {
    return this.doneAt.has(id)
  }

  /** what is claimed now, by that worker or by anybody, and was not settled as far as that worker knows */
  held(by?: string): ReadonlySet<string> {
    return new Set(Array.from(this.open).filter(([, worker]) => by === undefined || worker === by).map(([id]) => id))
  }

  /** how many of these have entered their handler since they were claimed */
  enteredOf(held: ReadonlySet<string>): number {
    return Array.from(held).filter((id) => this.entered.has(id)).length
  }

  /** milliseconds from then until the last of these was done; of none: until anything was settled */
  recovery(from: number, hit: ReadonlySet<string>): number {
    const ends = Array.from(hit, (id) => this.doneAt.get(id) ?? 0).filter((at) => at > from)
    const next = ends.length > 0 ? Math.max(...ends) : this.settledAt.find((at) => at > from)
    return next === undefined ? 0 : next - from
  }
}

const raise = (counts: Map<string, number>, key: string): void => void counts.set(key, (counts.get(key) ?? 0) + 1)
