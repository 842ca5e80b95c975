/**
 * The rules of an idempotency store, without a store: what an operation answers and what entry it leaves behind. A store
 * has only to run them atomically.
 */

/** Who reserves: the job, and a token that is new for every run of it. */
export interface Owner {
  readonly job: string
  readonly fence: string
}

export type Reservation =
  | { readonly _tag: "Reserved" }
  | { readonly _tag: "Busy"; readonly job: string; readonly millis: number }
  | { readonly _tag: "Done"; readonly job: string; readonly result: string | undefined }

/** What is stored under a key. Times are milliseconds since the epoch. */
export interface Entry {
  readonly job: string
  /** absent once the work is done */
  readonly fence?: string | undefined
  readonly result?: string | undefined
  readonly expiresAt: number
}

/** The answer, and the entry to leave; `null` for none, undefined for what is there already. */
export type Step<A> = readonly [answer: A, leave?: Entry | null]

const live = (entry: Entry | undefined, now: number): entry is Entry => entry !== undefined && entry.expiresAt > now

const owns = (entry: Entry | undefined, owner: Owner, now: number): boolean =>
  live(entry, now) && entry.job === owner.job && entry.fence === owner.fence

/** A redelivery of the job itself takes over: that the job was handed out again says that its earlier run is over. */
export const reserve = (
  entry: Entry | undefined,
  owner: Owner,
  leaseMillis: number,
  now: number
): Step<Reservation> => {
  if (live(entry, now)) {
    if (entry.fence === undefined) return [{ _tag: "Done", job: entry.job, result: entry.result }]
    if (entry.job !== owner.job) return [{ _tag: "Busy", job: entry.job, millis: entry.expiresAt - now }]
  }
  return [{ _tag: "Reserved" }, { ...owner, expiresAt: now + leaseMillis }]
}

export const extend = (entry: Entry | undefined, owner: Owner, leaseMillis: number, now: number): Step<boolean> =>
  owns(entry, owner, now) ? [true, { ...owner, expiresAt: now + leaseMillis }] : [false]

/** Also when the lease has run out meanwhile, as long as nobody else came: the work is done. */
export const complete = (
  entry: Entry | undefined,
  owner: Owner,
  result: string | undefined,
  keepMillis: number,
  now: number
): Step<boolean> =>
  !live(entry, now) || owns(entry, owner, now)
    ? [true, { job: owner.job, expiresAt: now + keepMillis, ...(result === undefined ? {} : { result }) }]
    : [false]

export const release = (entry: Entry | undefined, owner: Owner, now: number): Step<void> =>
  owns(entry, owner, now) ? [undefined, null] : [undefined]
