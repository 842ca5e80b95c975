/**
 * What the suite is asked for, by environment variables (`npm run test:faults -- --help` sets them from options):
 *
 * - `FAULTS_SEED`: of everything that is left to chance; made up and printed when absent
 * - `FAULTS_ENGINES`: which engines, by commas; all when absent
 * - `FAULTS_ONLY`: only faults whose name has one of these parts, by commas
 * - `FAULTS_FORM`: `short` (when absent) or `long`: more jobs, more rounds, minutes where the short form has seconds
 * - `FAULTS_NTH`: at which passing of a crash point it stops; by the seed when absent
 * - `FAULTS_WRITE`: `1` writes the table into docs/guarantees.md
 */
export const engines = ["memory", "sqlite", "postgres", "redis"] as const

export type Engine = (typeof engines)[number]

const list = (name: string): ReadonlyArray<string> =>
  (process.env[name] ?? "").split(",").map((part) => part.trim()).filter((part) => part !== "")

const number = (name: string, least: number): number | undefined => {
  const value = process.env[name]
  if (value === undefined || value === "") return undefined
  const parsed = Number(value)
  if (!Number.isSafeInteger(parsed) || parsed < least) {
    throw new Error(`${name} is ${value}: give it a whole number from ${least}`)
  }
  return parsed
}

const isEngine = (name: string): name is Engine => engines.includes(name as Engine)

const chosen = (): ReadonlyArray<Engine> => {
  const names = list("FAULTS_ENGINES")
  const unknown = names.filter((name) => !isEngine(name))
  if (unknown.length > 0) throw new Error(`FAULTS_ENGINES names ${unknown.join(", ")}: there are ${engines.join(", ")}`)
  return names.length === 0 ? engines : names.filter(isEngine)
}

const form = process.env["FAULTS_FORM"] ?? "short"
if (form !== "short" && form !== "long") throw new Error(`FAULTS_FORM is ${form}: give it short or long`)

export const options = {
  seed: number("FAULTS_SEED", 0) ?? Math.floor(Math.random() * 1_000_000),
  engines: chosen(),
  only: list("FAULTS_ONLY"),
  long: form === "long",
  nth: number("FAULTS_NTH", 1),
  write: process.env["FAULTS_WRITE"] === "1"
}

/** numbers that depend on the seed and on what they are for, and on nothing else */
export class Chance {
  private state: number

  constructor(seed: number, purpose: string) {
    this.state = seed | 0
    for (const char of purpose) this.state = Math.imul(this.state ^ char.codePointAt(0)!, 0x9e3779b1)
  }

  private next(): number {
    this.state = (this.state + 0x6d2b79f5) | 0
    let t = Math.imul(this.state ^ (this.state >>> 15), 1 | this.state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }

  /** a whole number from `low` to `high`, both included */
  between(low: number, high: number): number {
    return low + Math.floor(this.next() * (high - low + 1))
  }

  get coin(): boolean {
    return this.next() < 0.5
  }
}
