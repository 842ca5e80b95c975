/**
 * The program that every library writes in its own way: three middlewares around a handler, A outside of B outside of C,
 * each holding something while the inside runs. What goes wrong goes wrong at B, so that one was entered before it and one
 * comes after it, or in the handler. The program keeps a trace; `judge.ts` reads it.
 */

export const cases = [
  "succeeds",
  "handler fails",
  "acquire fails",
  "release fails",
  "both fail",
  "answers early",
  "goes on later",
  "shutdown",
  "cut short"
] as const

export type Case = typeof cases[number]

/** what each case is about, for the table's reader */
export const about: Record<Case, string> = {
  "succeeds": "A, B and C acquire, the handler succeeds, all three release",
  "handler fails": "the handler fails with a typed error",
  "acquire fails": "B fails to acquire, after A did and before C",
  "release fails": "the handler succeeds, then B's release throws",
  "both fail": "the handler fails with a typed error, and B's release throws",
  "answers early": "B ends the job without acquiring anything and without calling what is inside of it",
  "goes on later": "the handler lets the job wait durably (a sleep, a snooze), and it goes on later",
  "shutdown": "the worker is shut down while the handler waits, by the way that the documentation recommends",
  "cut short": "the running job is cancelled, or its time limit ends, while the handler waits"
}

export type Who = "A" | "B" | "C"

/** the handler's typed error of the libraries without Effect; those with Effect have one of the same name and field */
export class MailRejected extends Error {
  readonly code = 550
  override readonly name = "MailRejected"
  constructor() {
    super("mail rejected")
  }
}

export const acquireFails = "B has nothing to give"
export const releaseFails = "B does not let go"

/** How much of the handler's error arrived somewhere: `itself` is an instance of its class with its field. */
export type Arrived = "itself" | "name and text" | "text" | "another" | "nothing"

const textOf = (u: unknown): string => {
  if (typeof u === "string") return u
  if (typeof u !== "object" || u === null) return String(u)
  const { cause, errors, message, name, suppressed } = u as Record<string, unknown>
  const inner = [cause, suppressed, ...(Array.isArray(errors) ? errors as ReadonlyArray<unknown> : [])]
  return [name, message, ...inner.filter((one) => one !== undefined && one !== u).map(textOf)]
    .filter((part) => typeof part === "string").join(" ")
}

export type Settled =
  | "succeeded"
  | "failed"
  /** ended as decided: neither a success nor a failure */
  | "discarded"
  | "cancelled"
  /** back in the queue; somebody else, or the next attempt, runs it again */
  | "given back"
  /** the library says nothing */
  | "nothing"

export type Event =
  | { readonly is: "acquired" | "acquire failed" | "released" | "release failed" | "answered"; readonly who: Who }
  /** the handler began, and ended, however it ended */
  | { readonly is: "running" | "ended" }
  /** what A, on its way out, was told of the failure inside of it */
  | { readonly is: "told"; readonly error: Arrived }
  /** what became of the job, in the moment in which that was decided for good */
  | { readonly is: "settled"; readonly how: Settled }
  /** what is left of the handler's error for the one who waits for the job, or asks for it later */
  | { readonly is: "heard"; readonly error: Arrived }
  /** the library is being closed; it was closed, and everything of it was awaited */
  | { readonly is: "closing" | "closed" }

export class Program {
  readonly trace: Array<Event> = []
  readonly name: Case
  /** fulfilled when the handler of a case that is cut short is at work */
  readonly atWork: Promise<void>
  private readonly atWorkNow: () => void
  private readonly isIt: (error: unknown) => boolean

  /** `isIt`: whether something is the handler's error itself, for a library that has its own class for it */
  constructor(name: Case, isIt: (error: unknown) => boolean = (u) => u instanceof MailRejected && u.code === 550) {
    let atWorkNow = () => {}
    this.name = name
    this.atWork = new Promise((resolve) => {
      atWorkNow = resolve
    })
    this.atWorkNow = () => atWorkNow()
    this.isIt = isIt
  }

  get isCut(): boolean {
    return this.name === "shutdown" || this.name === "cut short"
  }

  get handlerFails(): boolean {
    return this.name === "handler fails" || this.name === "both fail"
  }

  answers(who: Who): boolean {
    if (who !== "B" || this.name !== "answers early") return false
    this.trace.push({ is: "answered", who })
    return true
  }

  /** throws when the case says so */
  acquire(who: Who): void {
    if (who === "B" && this.name === "acquire fails") {
      this.trace.push({ is: "acquire failed", who })
      throw new Error(acquireFails)
    }
    this.trace.push({ is: "acquired", who })
  }

  /** how long a release takes, in milliseconds: who does not wait for it is seen not to */
  readonly releaseMillis = 5

  /** when a release is through; throws when the case says so */
  released(who: Who): void {
    if (who === "B" && (this.name === "release fails" || this.name === "both fail")) {
      this.trace.push({ is: "release failed", who })
      throw new Error(releaseFails)
    }
    this.trace.push({ is: "released", who })
  }

  async release(who: Who): Promise<void> {
    await sleep(this.releaseMillis)
    this.released(who)
  }

  running(): void {
    this.trace.push({ is: "running" })
    if (this.isCut) this.atWorkNow()
  }

  ended(): void {
    this.trace.push({ is: "ended" })
  }

  arrived(error: unknown): Arrived {
    if (error === undefined || error === null) return "nothing"
    if (this.isIt(error)) return "itself"
    const text = textOf(error)
    if (!text.includes("mail rejected")) return "another"
    return text.includes("MailRejected") ? "name and text" : "text"
  }

  /** A calls it on its way out, with what it was told of the failure inside of it */
  told(error: unknown): void {
    if (this.handlerFails) this.trace.push({ is: "told", error: this.arrived(error) })
  }

  settled(how: Settled): void {
    this.trace.push({ is: "settled", how })
  }

  /** whoever waits for the job learns that it failed, and this of the failure */
  heard(error: unknown): void {
    if (this.handlerFails) this.trace.push({ is: "heard", error: this.arrived(error) })
  }

  closing(): void {
    this.trace.push({ is: "closing" })
  }

  closed(): void {
    this.trace.push({ is: "closed" })
  }

  /**
   * The handler of the libraries of promises. `signal` is the one that the library gives to a handler, if it has one: the
   * handler heeds it at once and then needs 20 ms for itself. `pause` lets the job wait durably.
   */
  async handler(given: {
    readonly signal?: AbortSignal | undefined
    readonly pause?: (() => Promise<unknown>) | undefined
  }): Promise<string> {
    this.running()
    try {
      if (this.name === "goes on later") await given.pause?.()
      if (this.isCut) await until(given.signal)
      if (this.handlerFails) throw new MailRejected()
      return "sent"
    } finally {
      if (this.isCut) await sleep(20)
      this.ended()
    }
  }
}

export const sleep = (millis: number) => new Promise<void>((resolve) => setTimeout(resolve, millis))

/** rejects when the signal aborts */
const until = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) => {
    // an open handle: a process with nothing else to do does not end under it
    const open = setInterval(() => undefined, 1_000)
    const stop = () => {
      clearInterval(open)
      reject(signal?.reason instanceof Error ? signal.reason : new Error(`stopped: ${String(signal?.reason)}`))
    }
    if (signal?.aborted === true) stop()
    else signal?.addEventListener("abort", stop, { once: true })
  })

/** One middleware of the libraries that wrap promises, or of none: try and finally, the most careful way there is. */
export const holding = <A>(program: Program, who: Who, next: () => Promise<A>, answer: A): Promise<A> => {
  if (program.answers(who)) return Promise.resolve(answer)
  return (async () => {
    program.acquire(who)
    try {
      return await next()
    } catch (error) {
      if (who === "A") program.told(error)
      throw error
    } finally {
      await program.release(who)
    }
  })()
}

export interface Place {
  /** fresh for every child process: a schema, a prefix */
  readonly name: string
  readonly postgres: string
  readonly redis: { readonly host: string; readonly port: number }
}

/** A row of the table; what is known of it without loading it is in `registry.ts`. */
export interface Library {
  readonly name: string
  /** what its documentation offers, and how it was driven, in a sentence */
  readonly how: string
  /** why a case is left out: the library has no such thing, or it cannot be driven without its server */
  readonly leavesOut: Partial<Record<Case, string>>
  readonly isIt?: ((error: unknown) => boolean) | undefined
  readonly run: (program: Program, place: Place) => Promise<void>
}
