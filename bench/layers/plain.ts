/** No library: functions around functions, composed once, by hand. */
import { type Cell, type Contenders, type Payload, payloads } from "./contender.ts"

type Job = (payload: Payload) => Promise<void>

const run = (layer: (cell: Cell) => (next: Job) => Job) => async (cell: Cell) => {
  let job: Job = async (payload) => cell.onJob(payload)
  for (let n = 0; n < cell.layers; n++) job = layer(cell)(job)
  for (let n = 0; n < cell.jobs; n++) await job(payloads[n % payloads.length]!)
}

export const contenders: Contenders = {
  "plain async functions": {
    counts: { in: 1, out: 1 },
    run: run((cell) => (next) => async (payload) => {
      cell.tally.in++
      await next(payload)
      cell.tally.out++
    })
  },
  // what a scoped layer is without a library
  "plain async functions, try and finally": {
    counts: { in: 1, out: 1 },
    run: run((cell) => (next) => async (payload) => {
      cell.tally.in++
      try {
        await next(payload)
      } finally {
        cell.tally.out++
      }
    })
  }
}
