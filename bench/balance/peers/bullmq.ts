/**
 * BullMQ: it has no middleware, so the processor is wrapped by hand. The shutdown is `close`, which waits for running jobs
 * without a limit, so the running ones are cancelled before it, as its guide says of jobs that take long.
 */
import { DelayedError, Queue, QueueEvents, UnrecoverableError, Worker } from "bullmq"
import { holding, type Library } from "../program.ts"

export const libraries: ReadonlyArray<Library> = [{
  name: "BullMQ",
  how: "the processor wrapped by hand, try and finally; `cancelAllJobs` and `close`, `cancelJob`, `moveToDelayed`",
  leavesOut: {},
  run: async (program, place) => {
    const options = { connection: { ...place.redis, maxRetriesPerRequest: null }, prefix: place.name }
    const queue = new Queue("balance", options)
    const events = new QueueEvents("balance", options)
    await events.waitUntilReady()
    const worker = new Worker("balance", (job, token, signal) => {
      const pause = async () => {
        if (job.attemptsStarted > 1) return
        await job.moveToDelayed(Date.now() + 10, token)
        throw new DelayedError()
      }
      return holding(program, "A", () =>
        holding(program, "B", () =>
          holding(program, "C", async () => {
            try {
              return await program.handler({ signal, pause })
            } catch (error) {
              // as the guide has it: a job that somebody cancelled is not to be tried again
              if (program.name === "cut short" && signal?.aborted === true) throw new UnrecoverableError("cancelled")
              throw error
            }
          }, "answered"), "answered"), "answered")
    }, options)
    const settled = new Promise<void>((resolve) => {
      worker.on("completed", () => {
        program.settled("succeeded")
        resolve()
      })
      worker.on("failed", async (job) => {
        program.settled(
          program.name === "cut short" ? "cancelled" : (await job!.isFailed()) ? "failed" : "given back"
        )
        resolve()
      })
    })
    const job = await queue.add("send", {}, program.isCut ? { attempts: 2 } : {})
    const heard = job.waitUntilFinished(events).catch((error: unknown) => program.heard(error))
    if (program.isCut) await program.atWork
    if (program.name === "cut short") worker.cancelJob(job.id!, "cancelled")
    if (program.name === "shutdown") worker.cancelAllJobs("shutdown")
    else {
      await settled
      await heard
    }
    await worker.close()
    if (program.name === "shutdown") await settled
    program.closed()
    await Promise.all([events.close(), queue.obliterate({ force: true }).then(() => queue.close())])
  }
}]
