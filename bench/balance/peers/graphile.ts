/**
 * graphile-worker: its plugins' middleware is around the worker's life and not around a job, so the task is wrapped by hand.
 * A shutdown waits `gracefulShutdownAbortTimeout` and then aborts the signal that every task is given.
 */
import { makeWorkerUtils, run } from "graphile-worker"
import { Pool } from "pg"
import { holding, type Library, sleep } from "../program.ts"

export const libraries: ReadonlyArray<Library> = [{
  name: "graphile-worker",
  how: "the task wrapped by hand, try and finally; `runner.stop()` with its abort signal",
  leavesOut: {
    "goes on later": "a task can only fail and be tried again",
    "cut short": "a running task cannot be cancelled"
  },
  run: async (program, place) => {
    const pgPool = new Pool({ connectionString: place.postgres, max: 4 })
    pgPool.on("error", () => undefined)
    pgPool.on("connect", (client) => client.on("error", () => undefined))
    const options = { pgPool, schema: place.name, noHandleSignals: true }
    const utils = await makeWorkerUtils(options)
    await utils.migrate()
    const runner = await run({
      ...options,
      concurrency: 1,
      pollInterval: 50,
      preset: { worker: { gracefulShutdownAbortTimeout: 100 } },
      taskList: {
        send: (_payload, helpers) =>
          holding(program, "A", () =>
            holding(program, "B", () =>
              holding(program, "C", async () => {
                await program.handler({ signal: helpers.abortSignal })
              }, undefined), undefined), undefined)
      }
    })
    const settled = new Promise<void>((resolve) => {
      runner.events.on("job:success", () => {
        program.settled("succeeded")
        resolve()
      })
      runner.events.on("job:error", () => {
        if (!program.isCut) return
        program.settled("given back")
        resolve()
      })
      runner.events.on("job:failed", () => {
        program.settled("failed")
        resolve()
      })
    })
    const job = await utils.addJob("send", {}, { maxAttempts: program.isCut ? 2 : 1 })
    await (program.isCut ? program.atWork : settled)
    await runner.stop()
    await runner.promise
    await settled
    // there is no result to wait for; what is kept of a failure is in the job's row, written a little after its event
    if (program.handlerFails || program.isCut) {
      for (let error: string | null = null; error === null; await sleep(20)) {
        const { rows } = await pgPool.query<{ last_error: string | null }>(
          `select last_error from "${place.name}".jobs where id = $1`,
          [job.id]
        )
        error = rows[0]?.last_error ?? null
        if (error !== null) program.heard(error)
      }
    }
    program.closed()
    // the schema goes with the others of the run; what the worker still writes finds it
    await utils.release()
  }
}]
