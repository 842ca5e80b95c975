/** Showing how far it is: one line that is redrawn on a terminal, a line every few seconds elsewhere. */

export interface Snapshot {
  /** files of which is known that they are of the tree; the walk goes first, so this soon stands still */
  readonly found: number
  /** of these: as they should be in the index */
  readonly done: number
  /** milliseconds since the start of this process */
  readonly elapsed: number
  /** files per second lately */
  readonly rate: number
  /** the file that was last worked on */
  readonly current: string
  /** jobs that cannot run yet, and why */
  readonly waiting: string | undefined
}

export interface Screen {
  readonly write: (text: string) => unknown
  readonly isTTY?: boolean | undefined
  readonly columns?: number | undefined
}

export const number = (n: number): string => Math.round(n).toLocaleString("en-US")

export const seconds = (millis: number): string => `${(millis / 1000).toFixed(1)} s`

const left = ({ done, found, rate }: Snapshot): string => {
  if (rate <= 0 || done >= found) return ""
  const secondsLeft = (found - done) / rate
  return secondsLeft < 60 ? `, ${Math.ceil(secondsLeft)} s left` : `, ${Math.ceil(secondsLeft / 60)} min left`
}

/** names may hold anything: a line break or an escape sequence must not reach the terminal */
const printable = (text: string): string => text.replace(/[\p{Cc}\p{Cf}]/gu, "?")

/** the end of a path says more than its beginning; a character may be two columns wide, so this leaves room */
const shortened = (path: string, width: number): string => {
  const characters = Array.from(printable(path))
  return width < 8 ? "" : characters.length <= width ? characters.join("") : `…${characters.slice(1 - width).join("")}`
}

/** One line, never wider than the terminal. */
export const bar = (snapshot: Snapshot, columns: number): string => {
  const { done, found } = snapshot
  const fraction = found === 0 ? 0 : Math.min(1, done / found)
  const facts = snapshot.waiting === undefined
    ? `${number(done)} of ${number(found)} files  ${number(snapshot.rate)}/s${left(snapshot)}`
    : `${number(done)} of ${number(found)} files  ${snapshot.waiting}`
  const width = Math.max(0, Math.min(30, columns - facts.length - 9))
  const full = Math.floor(fraction * width)
  const drawn = width < 5 ? "" : `${"█".repeat(full)}${"░".repeat(width - full)} `
  const percent = `${Math.floor(fraction * 100)}%`.padStart(4)
  const line = `${drawn}${percent}  ${facts}`
  const room = columns - line.length - 3
  return room < 8
    ? line.slice(0, Math.max(0, columns - 1))
    : `${line}  ${shortened(snapshot.current, Math.floor(room / 2))}`
}

export const plain = (snapshot: Snapshot): string =>
  `${seconds(snapshot.elapsed).padStart(7)}  ${number(snapshot.done)} of ${number(snapshot.found)} files, ${
    snapshot.waiting ?? `${number(snapshot.rate)}/s${left(snapshot)}`
  }`

/** A bar is for eyes: not for files, not for logs of a build, not for a terminal that cannot move its cursor. */
export const isInteractive = (screen: Screen, env: Readonly<Record<string, string | undefined>>): boolean =>
  screen.isTTY === true && env["TERM"] !== "dumb" && (env["CI"] ?? "") === ""

/** milliseconds between two plain lines */
const every = 2_000

const wipe = "\r\u001b[2K"
const hideCursor = "\u001b[?25l"
const showCursor = "\u001b[?25h"

export class Progress {
  private readonly screen: Screen
  private readonly interactive: boolean
  private drawn = false
  private lastLine = 0
  private lastText = ""

  constructor(screen: Screen, env: Readonly<Record<string, string | undefined>>) {
    this.screen = screen
    this.interactive = isInteractive(screen, env)
  }

  update(snapshot: Snapshot): void {
    if (this.interactive) {
      this.screen.write(`${this.drawn ? "" : hideCursor}${wipe}${bar(snapshot, this.screen.columns || 80)}`)
      this.drawn = true
    } else if (snapshot.elapsed - this.lastLine >= every) {
      this.lastLine = snapshot.elapsed
      const text = plain(snapshot)
      if (text !== this.lastText) this.screen.write(`${text}\n`)
      this.lastText = text
    }
  }

  /** a message; it stays above the bar, which the next update draws again */
  print(text: string): void {
    this.screen.write(`${this.drawn ? wipe : ""}${text}\n`)
  }

  /** takes the bar away */
  end(): void {
    if (this.drawn) this.screen.write(`${wipe}${showCursor}`)
    this.drawn = false
  }
}
