/** pg-boss 12: batch handlers (one call and one completion per batch of 1,000), woken by NOTIFY. */
import { PgBoss } from "pg-boss"
import { chunks, type Contender, type Payload, pool } from "../contender.ts"

export const contenders: ReadonlyArray<Contender> = [{
  name: "pg-boss, batch handler",
  engine: "postgres",
  kind: "peer",
  settings: "batchSize 1000, burstWhenBatchFull, notify; concurrency is the number of its workers (1 or 2)",
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
