/** koa-compose: the middleware of Koa alone. */
import compose from "koa-compose"
import { holding, type Library, type Program, type Who } from "../program.ts"

interface Job {
  result?: string
}

const middleware = (program: Program, who: Who) => (job: Job, next: () => Promise<unknown>) =>
  holding(program, who, async () => {
    await next()
  }, undefined as void)

export const libraries: ReadonlyArray<Library> = [{
  name: "koa-compose",
  how: "`compose([A, B, C, handler])`, `await next()` in try and finally; the job is settled when its promise is",
  leavesOut: {
    "goes on later": "there is no queue",
    "shutdown": "there is no worker",
    "cut short": "there is no worker"
  },
  run: async (program) => {
    const run = compose<Job>([
      middleware(program, "A"),
      middleware(program, "B"),
      middleware(program, "C"),
      async (job) => {
        job.result = await program.handler({})
      }
    ])
    await run({}).then(
      () => program.settled("succeeded"),
      (error: unknown) => {
        program.settled("failed")
        program.heard(error)
      }
    )
  }
}]
