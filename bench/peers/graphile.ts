/**
 * graphile-worker 0.18: as it is by default (a round trip per job), and with the batching that its performance page
 * describes (a local queue, completions in batches).
 */
import { makeWorkerUtils, run, type WorkerUtilsOptions } from "graphile-worker"
import { Logger } from "graphile-worker"
import { Pool } from "pg"
import { chunks, type Contender, type Payload, type Place, pool, type Queue } from "../contender.ts"

const logger = new Logger(() => () => {})

const open = (batched: boolean) => async (place: Place): Promise<Queue> => {
  const pgPool = new Pool({ connectionString: place.postgres, max: 10 })
  pgPool.on("error", () => {})
  const preset: WorkerUtilsOptions["preset"] = {
    worker: {
      schema: place.name,
      logger,
      preparedStatements: true,
      ...(batched ? { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 } : {})
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
    kind: "peer",
    settings: "localQueue.size 500, completeJobBatchDelay 0, prepared statements, pool of 10",
    open: open(true)
  },
  {
    name: "graphile-worker",
    engine: "postgres",
    kind: "peer",
    settings: "defaults, prepared statements, pool of 10",
    open: open(false)
  }
]
