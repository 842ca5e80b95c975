/**
 * graphile-worker 0.18: as it is by default (a round trip per job), and with the batching of its page "Performance"
 * (worker.graphile.org/docs/performance): a local queue of 500, completions in batches without a delay, and as there a pool
 * of 25 connections. `best` has a local queue of 2,000: the page leaves the size to the user, and this one is faster here.
 */
import { makeWorkerUtils, run, type WorkerUtilsOptions } from "graphile-worker"
import { Logger } from "graphile-worker"
import { Pool } from "pg"
import { chunks, type Contender, type Payload, type Place, pool, type Queue, type Use } from "../contender.ts"

const logger = new Logger(() => () => {})

const open = (batched: boolean) => async (place: Place, { best }: Use): Promise<Queue> => {
  const pgPool = new Pool({ connectionString: place.postgres, max: 25 })
  pgPool.on("error", () => {})
  pgPool.on("connect", (client) => client.on("error", () => {}))
  const preset: WorkerUtilsOptions["preset"] = {
    worker: {
      schema: place.name,
      logger,
      preparedStatements: true,
      ...(batched
        ? { localQueue: { size: best ? 2_000 : 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 }
        : {})
    }
  }
  const utils = await makeWorkerUtils({ pgPool, schema: place.name, logger })
  await utils.migrate()
  return {
    enqueueEach: (payloads, inFlight) => pool(payloads, inFlight, (payload) => utils.addJob("job", payload)),
    enqueueMany: async (payloads) => {
      for (const some of chunks(payloads, 1_000)) {
        await utils.addJobs(some.map((payload) => ({ identifier: "job", payload })))
      }
    },
    work: async (concurrency, onJob) => {
      const runner = await run({
        preset: { ...preset, worker: { ...preset!.worker, concurrentJobs: concurrency } },
        pgPool,
        noHandleSignals: true,
        taskList: { job: async (payload) => onJob(payload as Payload) }
      })
      return { stop: () => runner.stop() }
    },
    close: async () => {
      await utils.release()
      await pgPool.end()
    }
  }
}

export const contenders: ReadonlyArray<Contender> = [
  {
    name: "graphile-worker, batched",
    engine: "postgres",
    settings: "localQueue.size 500 (best: 2,000), completeJobBatchDelay 0, prepared statements, pool of 25",
    open: open(true)
  },
  {
    name: "graphile-worker",
    engine: "postgres",
    settings: "defaults (no local queue, a completion per job), prepared statements, pool of 25",
    open: open(false)
  }
]
