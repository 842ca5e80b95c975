/**
 * pg-boss 12: batch handlers, one call and one completion for up to 1,000 jobs (`batchSize`), the next fetch at once while
 * batches are full (`burstWhenBatchFull`), woken by NOTIFY (`useListenNotify`, and `notify` of the queue): the documentation of
 * these options in its types.d.ts. Two workers are faster than one here, more are not. With `batchSize` 1, its default, a
 * backlog is worked on at the pace of its polls.
 */
import { PgBoss } from "pg-boss"
import { chunks, type Contender, type Payload, pool } from "../contender.ts"

export const contenders: ReadonlyArray<Contender> = [{
  name: "pg-boss, batch handler",
  engine: "postgres",
  settings: "batchSize 1,000, burstWhenBatchFull, useListenNotify, 2 workers, supervise false, schedule false",
  open: async (place) => {
    const boss = new PgBoss({
      connectionString: place.postgres,
      schema: place.name,
      useListenNotify: true,
      supervise: false,
      schedule: false
    })
    boss.on("error", () => {})
    await boss.start()
    await boss.createQueue("bench", { notify: true } as never)
    return {
      enqueueEach: (payloads, inFlight) => pool(payloads, inFlight, (payload) => boss.send("bench", payload)),
      enqueueMany: async (payloads) => {
        for (const some of chunks(payloads, 1_000)) {
          await boss.insert("bench", some.map((data) => ({ data })) as never)
        }
      },
      work: async (concurrency, onJob) => {
        const options = { batchSize: 1_000, burstWhenBatchFull: true, pollingIntervalSeconds: 0.5 }
        for (let n = 0; n < Math.min(2, concurrency); n++) {
          await boss.work<Payload>("bench", options as never, async (jobs: ReadonlyArray<{ data: Payload }>) => {
            for (const { data } of jobs) onJob(data)
          })
        }
        return { stop: () => boss.offWork("bench") }
      },
      close: () => boss.stop({ graceful: false })
    }
  }
}]
