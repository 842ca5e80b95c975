/** What the two processes say to each other, as JSON over the channel of Node's `fork`. One job at a time per process. */
import type { Destination, Origin } from "../../Backend.ts"
import type { Decision } from "../../Decide.ts"

/** A job as it crosses; `remaining` in milliseconds from when it was sent, a payload encoded by the task's own schema. */
export interface Request {
  readonly task: string
  readonly payload: string
  readonly job: {
    readonly id: string
    readonly queue: string
    readonly attempt: number
    readonly lastAttempt: boolean
    readonly origin: Origin
    readonly headers: Readonly<Record<string, string>>
    readonly enqueuedAt: number | undefined
    readonly startedAt: number
    readonly scheduledFor: number | undefined
    readonly priority: number
    readonly group: string | undefined
    readonly lostFrom: string | undefined
    readonly worker: string
  }
  readonly remaining: number | undefined
  /** the span that the parent runs the handler in, as a `traceparent` */
  readonly trace: string | undefined
  /** nothing below it is worth sending */
  readonly logLevel: string
}

export type ToChild =
  | { readonly _tag: "Run"; readonly request: Request }
  | { readonly _tag: "Stop"; readonly why: "aborted" | "shutdown" | "lost" | "timeout" | undefined }
  | { readonly _tag: "Answer"; readonly call: number; readonly answer: Answer }
  /** nothing comes any more: close what is open and end */
  | { readonly _tag: "Bye" }

/** what became of a question of the child; a typed error is an encoded `BackendError` */
export type Answer =
  | { readonly _tag: "Ok" }
  | { readonly _tag: "Error"; readonly error: unknown }
  | { readonly _tag: "Defect"; readonly message: string }

export interface Line {
  readonly level: "Fatal" | "Error" | "Warn" | "Info" | "Debug" | "Trace"
  readonly message: ReadonlyArray<string>
  readonly annotations: Readonly<Record<string, string>>
}

export type ToParent =
  /** tasks that it serves, each with the version of its payload */
  | { readonly _tag: "Ready"; readonly tasks: Readonly<Record<string, number>> }
  /** its layer could not be built */
  | { readonly _tag: "Failed"; readonly error: string }
  /** the handler's exit, encoded by the task's own schemas */
  | { readonly _tag: "Done"; readonly exit: string }
  | { readonly _tag: "Decided"; readonly decision: Decision }
  /** where the next attempt goes, if there is one */
  | { readonly _tag: "Reroute"; readonly to: Destination }
  | { readonly _tag: "Progress"; readonly call: number; readonly value: string }
  | { readonly _tag: "StopWorker" }
  | { readonly _tag: "Log"; readonly line: Line }
