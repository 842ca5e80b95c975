/**
 * The end of a function's environment: functions with an extension get a SIGTERM, and a moment before they are killed.
 * One listener for all handlers of the process.
 */

interface Process {
  readonly on: (signal: string, listener: () => void) => void
  readonly off: (signal: string, listener: () => void) => void
  readonly listenerCount: (signal: string) => number
  readonly exit: (code?: number) => never
}

// absent in runtimes without one
const process = (globalThis as { readonly process?: Process }).process

const open = new Set<() => Promise<void>>()

const onSigterm = () => {
  void Promise.allSettled(Array.from(open, (close) => close())).then(() => {
    // the last `forget` took the listener away; whoever else listens decides when the process ends
    if (process?.listenerCount("SIGTERM") === 0) process.exit(0)
  })
}

/** @internal */
export const listen = (close: () => Promise<void>): void => {
  if (open.size === 0) process?.on("SIGTERM", onSigterm)
  open.add(close)
}

/** @internal */
export const forget = (close: () => Promise<void>): void => {
  if (open.delete(close) && open.size === 0) process?.off("SIGTERM", onSigterm)
}
