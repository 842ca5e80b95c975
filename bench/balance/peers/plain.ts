/** No library at all: async functions around async functions, with try and finally, and with `await using`. */
import { holding, type Library, type Program, type Who } from "../program.ts"

const leavesOut = {
  "goes on later": "there is no queue",
  "shutdown": "there is no worker",
  "cut short": "there is no worker"
}

/** one middleware: what it holds, what is inside of it, and what it answers with when it answers early */
type Holding = (program: Program, who: Who, next: () => Promise<string>, answer: string) => Promise<string>

const run = (holding: Holding) => (program: Program) =>
  holding(
    program,
    "A",
    () => holding(program, "B", () => holding(program, "C", () => program.handler({}), "answered"), "answered"),
    "answered"
  ).then(
    () => program.settled("succeeded"),
    (error: unknown) => {
      program.settled("failed")
      program.heard(error)
    }
  )

const using: Holding = async (program, who, next, answer) => {
  try {
    if (program.answers(who)) return answer
    program.acquire(who)
    await using _held = { [Symbol.asyncDispose]: async () => program.release(who) }
    return await next()
  } catch (error) {
    if (who === "A") program.told(error)
    throw error
  }
}

export const libraries: ReadonlyArray<Library> = [
  {
    name: "no library, try and finally",
    how: "functions around functions, each with try and finally; the job is settled when the outermost promise is",
    leavesOut,
    run: run(holding)
  },
  {
    name: "no library, await using",
    how: "the same with `await using`, which puts both failures into a `SuppressedError`",
    leavesOut,
    run: run(using)
  }
]
