/**
 * One queue, so many worker processes. The cell stores the jobs, the workers are started from this file and say what they
 * handled, every ten milliseconds; what is measured is from when half was done.
 */
import { type ChildProcess, fork } from "node:child_process"
import { once } from "node:events"
import type { Order } from "./cell.ts"
import { bulk, deferred, payloadsOf, type Queue } from "./contender.ts"
import { cold, type Run } from "./counter.ts"
import { load } from "./registry.ts"

type Said = "open" | { readonly at: number; readonly handled: ReadonlyArray<number> }

/** milliseconds, the same clock in every process of a machine */
const now = () => performance.timeOrigin + performance.now()

export const scale = async (queue: Queue, order: Order): Promise<Run> => {
  const { jobs } = order
  await bulk(queue, payloadsOf(jobs))
  const workers = await Promise.all(Array.from({ length: Number(order.at) }, async () => {
    const worker = fork(import.meta.filename, [JSON.stringify(order)], { execArgv: process.execArgv })
    await once(worker, "message")
    return worker
  }))
  const done = deferred()
  const seen = new Uint8Array(jobs)
  const said: Array<readonly [at: number, handled: number]> = []
  let left = jobs
  const listen = (worker: ChildProcess) =>
    worker.on("message", ({ at, handled }: Exclude<Said, string>) => {
      for (const i of handled) if (seen[i]!++ === 0) left--
      said.push([at, handled.length])
      if (left === 0) done.resolve()
    }).on("exit", () => done.reject(new Error("a worker process ended")))
  for (const worker of workers) {
    listen(worker)
    worker.send("go")
  }
  await done.promise
  for (const worker of workers) worker.removeAllListeners("exit")
  await Promise.all(workers.map((worker) => {
    worker.send("stop")
    return once(worker, "exit")
  }))
  const repeats = said.reduce((sum, [, handled]) => sum + handled, 0) - jobs
  if (repeats > 0) throw new Error(`${repeats} of ${jobs} jobs were handled more than once`)
  return warmOf(said.toSorted(([a], [b]) => a - b), jobs)
}

/** From the message that brought the warm-up to its end to the last. */
const warmOf = (said: ReadonlyArray<readonly [at: number, handled: number]>, jobs: number): Run => {
  let count = 0
  const first = said.findIndex(([, handled]) => (count += handled) >= cold(jobs))
  return { jobs: jobs - count, millis: said.at(-1)![0] - said[first]![0] }
}

const work = async (order: Order) => {
  const contender = await load(order.engine, order.name)
  const queue = await contender.open(order.place, { best: false })
  process.send!("open" satisfies Said)
  await once(process, "message")
  let handled: Array<number> = []
  const say = () => {
    if (handled.length > 0) process.send!({ at: now(), handled } satisfies Said)
    handled = []
  }
  const timer = setInterval(say, 10)
  const worker = await queue.work(order.concurrency, ({ i }) => void handled.push(i))
  await once(process, "message")
  await worker.stop()
  clearInterval(timer)
  say()
  // a message is sent when it has left the process
  process.disconnect()
  process.exit(0)
}

if (process.send !== undefined && import.meta.main) await work(JSON.parse(process.argv[2]!) as Order)
