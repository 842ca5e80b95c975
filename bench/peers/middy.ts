/** @middy/core 7: before and after of an object, as its documentation has them. Composed once. */
import { middy } from "@middy/core"
import { type Cell, type Contenders, payloads } from "../layers/contender.ts"

const run = (layer: (cell: Cell) => object) => async (cell: Cell) => {
  let job = middy()
  for (let l = 0; l < cell.layers; l++) job = job.use(layer(cell))
  // a response: without one, middy takes an empty answer for an early one
  job = job.handler(async (payload: (typeof payloads)[number]) => {
    cell.onJob(payload)
    return true
  })
  for (let n = 0; n < cell.jobs; n++) await job(payloads[n % payloads.length]!, {})
}

export const contenders: Contenders = {
  "middy": {
    counts: { in: 1, out: 1 },
    run: run((cell) => ({
      before: async () => void cell.tally.in++,
      after: async () => void cell.tally.out++
    }))
  },
  "middy, functions that are not async": {
    counts: { in: 1, out: 1 },
    run: run((cell) => ({
      before: () => void cell.tally.in++,
      after: () => void cell.tally.out++
    }))
  }
}
