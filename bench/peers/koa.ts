/** koa-compose 4: async functions, as its README has them. Composed once. */
import compose from "koa-compose"
import { type Cell, type Contenders, payloads } from "../layers/contender.ts"

export const contenders: Contenders = {
  "koa-compose": {
    counts: { in: 1, out: 1 },
    run: async (cell: Cell) => {
      const layer = async (_: unknown, next: () => Promise<unknown>) => {
        cell.tally.in++
        await next()
        cell.tally.out++
      }
      const handler = async (context: { readonly payload: (typeof payloads)[number] }) => cell.onJob(context.payload)
      const job = compose([...Array.from({ length: cell.layers }, () => layer), handler])
      for (let n = 0; n < cell.jobs; n++) await job({ payload: payloads[n % payloads.length]! })
    }
  }
}
