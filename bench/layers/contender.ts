/** What a contender of the layers' bench is, and what all of them do with a job. */

/** what the cell gives to a contender, and reads afterwards */
export interface Cell {
  /** jobs to run, one after another or as many at once as `concurrency` says */
  readonly jobs: number
  readonly concurrency: number
  /** how many layers stand around the handler */
  readonly layers: number
  /** every handler ends with this call, once per job */
  readonly onJob: (payload: Payload) => void
  /** every layer counts itself in and, if it has a way out, out: none may be left out, by nobody */
  readonly tally: { in: number; out: number }
}

export interface Payload {
  readonly i: number
  readonly to: string
  readonly t: number
}

/** payloads as a queue has them; so many that nothing is learned by heart, so few that they are no load for the collector */
export const payloads: ReadonlyArray<Payload> = Array.from(
  { length: 1_000 },
  (_, i) => ({ i, to: `ann+${i}@example.org`, t: 1_700_000_000_000 + i })
)

export interface Contender {
  /** how often a layer counts itself for one job */
  readonly counts: { readonly in: 0 | 1; readonly out: 0 | 1 }
  readonly run: (cell: Cell) => Promise<unknown>
}

/** by the name that `registry.ts` has */
export type Contenders = Readonly<Record<string, Contender>>
