/**
 * BullMQ 6 on Redis and on Postgres. `removeOnComplete` and `removeOnFail`, so that ended jobs do not pile up ("Tuning tips" in
 * its guide of the Postgres backend, "Auto-removal of jobs" in that of Redis); the pool of its Postgres connections is
 * left at 10: 30 were slower on two cores. There is no batch to set: a worker takes its next job with the end of the last.
 */
import { createPostgresBackend, Queue, type QueueOptions, withBackend, Worker } from "bullmq"
import { chunks, type Contender, type Payload, type Place, pool, type Queue as Bench } from "../contender.ts"

const defaultJobOptions = { removeOnComplete: true, removeOnFail: true }

interface Parts {
  readonly queue: Pick<Queue, "add" | "addBulk" | "close" | "waitUntilReady">
  readonly worker: (concurrency: number, onJob: (payload: Payload) => void) => Pick<Worker, "close" | "waitUntilReady">
}

const bench = async ({ queue, worker }: Parts): Promise<Bench> => {
  await queue.waitUntilReady()
  return {
    enqueueEach: (payloads, inFlight) => pool(payloads, inFlight, (payload) => queue.add("job", payload)),
    enqueueMany: async (payloads) => {
      for (const some of chunks(payloads, 1_000)) await queue.addBulk(some.map((data) => ({ name: "job", data })))
    },
    work: async (concurrency, onJob) => {
      const one = worker(concurrency, onJob)
      return { stop: () => one.close() }
    },
    close: () => queue.close()
  }
}

const redis = (place: Place) => {
  const options: QueueOptions = { connection: place.redis, prefix: place.name, defaultJobOptions }
  return bench({
    queue: new Queue("bench", options),
    worker: (concurrency, onJob) =>
      new Worker("bench", async (job) => onJob(job.data as Payload), {
        connection: { ...place.redis, maxRetriesPerRequest: null },
        prefix: place.name,
        concurrency
      })
  })
}

const postgres = (place: Place) => {
  const Postgres = withBackend(createPostgresBackend)
  const connection = { connectionString: place.postgres, schema: place.name, migrate: true } as never
  return bench({
    queue: new Postgres.Queue("bench", { connection, prefix: place.name, defaultJobOptions }) as never,
    worker: (concurrency, onJob) =>
      new Postgres.Worker("bench", async (job) => onJob(job.data as Payload), {
        connection,
        prefix: place.name,
        concurrency
      }) as never
  })
}

export const contenders: ReadonlyArray<Contender> = [
  { name: "BullMQ", engine: "redis", settings: "removeOnComplete, removeOnFail", open: redis },
  { name: "BullMQ", engine: "postgres", settings: "removeOnComplete, removeOnFail, pool of 10", open: postgres }
]
