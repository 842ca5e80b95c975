/**
 * What a subscription has received and not handed out: SQS is best asked by waiting, so a long poll brings jobs that the next
 * claim takes. And of a FIFO queue, which answers with several messages of one group, those behind the first.
 *
 * Nothing lies here for long: what no claim takes soon goes back to the queue.
 *
 * @since 0.1.0
 */
import type { Claim } from "./receive.ts"

export class Inbox {
  /** may be handed out, oldest first */
  private ready: Array<Claim> = []
  /** by group, in their order: the next of each when the one before it has ended */
  private readonly parked = new Map<string, Array<Claim>>()
  /** the first of each group, received and not settled */
  private readonly heads = new Map<string, Claim>()
  /** groups whose first has ended */
  private readonly freed = new Set<string>()

  get isEmpty(): boolean {
    return this.ready.length === 0 && this.freed.size === 0
  }

  /** of one receive, in its order */
  add(claims: ReadonlyArray<Claim>): void {
    const firsts = new Set<string>()
    for (const claim of claims) {
      const { group } = claim
      if (group === undefined) {
        this.ready.push(claim)
      } else if (firsts.has(group)) {
        this.parked.set(group, [...this.parked.get(group) ?? [], claim])
      } else {
        // SQS hands out a group that has others in flight only when their leases have ended
        firsts.add(group)
        this.parked.delete(group)
        this.freed.delete(group)
        this.heads.set(group, claim)
        this.ready.push(claim)
      }
    }
  }

  /** taken, and not handed out after all */
  restore(claims: ReadonlyArray<Claim>): void {
    this.ready.unshift(...claims)
  }

  take(max: number): ReadonlyArray<Claim> {
    const live = this.ready.filter((claim) => !claim.isExpired)
    this.ready = live.slice(max)
    return live.slice(0, max)
  }

  /** the next of groups that are free, which need a lease of their own before they are handed out */
  next(max: number): ReadonlyArray<Claim> {
    const claims: Array<Claim> = []
    for (const group of this.freed) {
      if (claims.length >= max) break
      this.freed.delete(group)
      const [claim, ...rest] = this.parked.get(group) ?? []
      if (rest.length === 0) this.parked.delete(group)
      else this.parked.set(group, rest)
      if (claim === undefined) continue
      this.heads.set(group, claim)
      claims.push(claim)
    }
    return claims
  }

  /** those behind a claim, whose leases are renewed with its own */
  behind({ group }: Claim): ReadonlyArray<Claim> {
    return group === undefined ? [] : this.parked.get(group) ?? []
  }

  /** it ended for good: the next of its group may go */
  ended(claim: Claim): void {
    if (!this.isHead(claim)) return
    this.heads.delete(claim.group!)
    if (this.parked.has(claim.group!)) this.freed.add(claim.group!)
  }

  /** it goes back or is lost: those behind it, which must go back as well, the youngest first */
  dropped(claim: Claim): ReadonlyArray<Claim> {
    if (!this.isHead(claim)) return []
    const behind = this.behind(claim).toReversed()
    this.heads.delete(claim.group!)
    this.parked.delete(claim.group!)
    this.freed.delete(claim.group!)
    return behind
  }

  /** of these, what no claim has taken, with those behind it: the youngest first */
  untaken(claims: ReadonlyArray<Claim>): ReadonlyArray<Claim> {
    const left = this.ready.filter((claim) => claims.includes(claim))
    this.ready = this.ready.filter((claim) => !left.includes(claim))
    return left.toReversed().flatMap((claim) => [...this.dropped(claim), claim])
  }

  /** everything that is not in somebody's hands, the youngest first */
  close(): ReadonlyArray<Claim> {
    const behind = Array.from(this.parked.values()).flatMap((claims) => claims.toReversed())
    const rest = [...behind, ...this.ready.toReversed()]
    this.ready = []
    this.parked.clear()
    this.heads.clear()
    this.freed.clear()
    return rest
  }

  private isHead(claim: Claim): boolean {
    return claim.group !== undefined && this.heads.get(claim.group) === claim
  }
}
