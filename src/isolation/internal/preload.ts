/**
 * What runs in a child before the user's module does, also when that hangs or burns the CPU: a thread that waits for the
 * end of the parent and kills the process with it. The parent holds the other end of a pipe and never writes; the kernel
 * closes it whatever the parent died of. A listener in the main thread would not do: a loop keeps it from being called.
 *
 * Ctrl-C reaches every process of a terminal; what becomes of a running job is for the parent to say, so the child does
 * not listen. The source is handed to Node as a `data:` address: it works from the sources, the build and a bundle.
 */

/** the file descriptor of the pipe in the child: after the three of every process and the channel */
export const lifeline = 4

/** set for the child, and taken away again before its module runs: what it starts itself is no child of ours */
export const variable = "WINDLASS_ISOLATE"

/** where the child's module finds that it is one */
export const mark = "~windlass/isolation"

const watcher = `
const { Socket } = require("node:net")
const gone = () => process.kill(process.pid, "SIGKILL")
new Socket({ fd: ${lifeline}, readable: true }).on("error", gone).on("close", gone).resume()
`

const source = `
import { isMainThread, Worker } from "node:worker_threads"
if (isMainThread && process.env.${variable} === "1") {
  delete process.env.${variable}
  globalThis[Symbol.for("${mark}")] = true
  process.on("SIGINT", () => {}).on("SIGTERM", () => {})
  new Worker(${JSON.stringify(watcher)}, { eval: true, execArgv: [], env: {}, stdin: false }).unref()
}
`

/** for `--import` */
export const address: string = `data:text/javascript,${encodeURIComponent(source)}`
