/** Samples this process while the measured part of a cell runs, and writes what was seen to a file that DevTools opens, too. */
import { writeFileSync } from "node:fs"
import { Session } from "node:inspector"
import type { Watcher } from "../counter.ts"

/** microseconds */
const every = 200

export const profiler = (file: string): Watcher => {
  const session = new Session()
  session.connect()
  session.post("Profiler.enable")
  session.post("Profiler.setSamplingInterval", { interval: every })
  return {
    begin: () => session.post("Profiler.start"),
    end: () =>
      session.post("Profiler.stop", (error, found) => {
        if (error !== null) throw error
        writeFileSync(file, JSON.stringify(found.profile))
      })
  }
}
