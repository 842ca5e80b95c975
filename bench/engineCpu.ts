/** The CPU time of a server on this machine, as the kernel counts it; undefined where that cannot be seen. */
import { readdirSync, readFileSync } from "node:fs"
import type { Engine } from "./contender.ts"

const commands: Partial<Record<Engine, RegExp>> = { postgres: /^postgres$/, redis: /^(redis|valkey)-server$/ }

/** of Linux, in hundredths of a second, on every machine that Node runs on */
const ticks = 100

interface Seen {
  readonly pids: string
  readonly ticks: number
}

/** every process of the server, with what those had that it has reaped: what ends moves to its parent */
const look = (command: RegExp): Seen => {
  const pids: Array<string> = []
  let sum = 0
  for (const pid of readdirSync("/proc")) {
    if (!/^\d+$/.test(pid)) continue
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, "latin1")
      const end = stat.lastIndexOf(")")
      if (!command.test(stat.slice(stat.indexOf("(") + 1, end))) continue
      pids.push(pid)
      // after the name: state ppid ... utime stime cutime cstime, the 12th to the 15th
      const fields = stat.slice(end + 2).split(" ")
      for (const n of [11, 12, 13, 14]) sum += Number(fields[n])
    } catch {
      // it ended while it was looked at
    }
  }
  return { pids: pids.join(), ticks: sum }
}

/** Seconds since the server began, those of its processes that have ended included. */
export const engineCpu = (engine: Engine): number | undefined => {
  const command = commands[engine]
  if (command === undefined || process.platform !== "linux") return undefined
  // one that ends between two looks would be counted twice or not at all
  let last = look(command)
  for (let n = 0; n < 5; n++) {
    const now = look(command)
    if (now.pids === last.pids) return now.pids === "" ? undefined : now.ticks / ticks
    last = now
  }
  return undefined
}
