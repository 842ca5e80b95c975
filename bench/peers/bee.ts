/**
 * bee-queue 2. What its README says costs Redis or memory and can be left out ("Settings"): events between queues, jobs kept
 * in memory for their events, ended jobs in Redis. `saveAll` for many ("Advanced: Bulk-Creating Jobs").
 */
import BeeQueue from "bee-queue"
import { chunks, type Contender, type Payload, pool } from "../contender.ts"

export const contenders: ReadonlyArray<Contender> = [{
  name: "bee-queue",
  engine: "redis",
  settings: "removeOnSuccess, removeOnFailure, getEvents false, sendEvents false, storeJobs false",
  open: async (place) => {
    const settings = {
      redis: place.redis,
      prefix: place.name,
      removeOnSuccess: true,
      removeOnFailure: true,
      getEvents: false,
      sendEvents: false,
      storeJobs: false
    }
    const producer = new BeeQueue<Payload>("bench", { ...settings, isWorker: false })
    await producer.ready()
    return {
      enqueueEach: (payloads, inFlight) => pool(payloads, inFlight, (payload) => producer.createJob(payload).save()),
      enqueueMany: async (payloads) => {
        for (const some of chunks(payloads, 1_000)) {
          const failed = await producer.saveAll(some.map((payload) => producer.createJob(payload)))
          if (failed.size > 0) throw new Error(`${failed.size} jobs were not saved`)
        }
      },
      work: async (concurrency, onJob) => {
        const worker = new BeeQueue<Payload>("bench", settings)
        await worker.ready()
        worker.process(concurrency, async (job) => onJob(job.data))
        return { stop: () => worker.close(5_000) }
      },
      close: () => producer.close(1_000)
    }
  }
}]
