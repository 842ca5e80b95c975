/** The CPU time of a server on this machine, as the kernel counts it; undefined where that cannot be seen. */
import { readdirSync, readFileSync } from "node:fs"
import type { Engine } from "./contender.ts"

const commands: Partial<Record<Engine, RegExp>> = { postgres: /^postgres$/, redis: /^(redis|valkey)-server$/ }

/** of Linux, in hundredths of a second, on every machine that Node runs on */
const ticks = 100

/** Seconds since the server began, those of its processes that have ended included. */
export const engineCpu = (engine: Engine): number | undefined => {
  const command = commands[engine]
  if (command === undefined || process.platform !== "linux") return undefined
  let sum = 0
  let found = false
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
      const end = stat.lastIndexOf(")")
      if (!command.test(stat.slice(stat.indexOf("(") + 1, end))) continue
      // after the name: state ppid ... utime stime cutime cstime, the 12th to the 15th
      const fields = stat.slice(end + 2).split(" ")
      for (const n of [11, 12, 13, 14]) sum += Number(fields[n])
      found = true
    } catch {
      // it ended while it was looked at: its parent has its time now
    }
  }
  return found ? sum / ticks : undefined
}
