/** One library, one case, in a process of its own: prints the trace as its last line, as far as it came. */
import { type Case, type Event, type Library, type Place, Program } from "./program.ts"

export interface Order {
  readonly module: string
  readonly library: string
  readonly case: Case
  readonly place: Place
  /** milliseconds; what is there of the trace by then is what was seen */
  readonly limit: number
}

export interface Reply {
  readonly how: string
  /** why the library leaves this case out; then there is no trace */
  readonly leftOut?: string
  readonly trace: ReadonlyArray<Event>
  /** whether it came to its end within the limit */
  readonly ended: boolean
  /** what the library's file failed with: a mistake of the file, not a result */
  readonly problem?: string
}

const order = JSON.parse(process.argv[2]!) as Order
// by an address that the compiler does not follow: the libraries are installed by those who run this
const { libraries } = await import(new URL(order.module, import.meta.url).href) as {
  readonly libraries: ReadonlyArray<Library>
}
const { how, isIt, leavesOut, run } = libraries.find((one) => one.name === order.library)!

const reply = (rest: Omit<Reply, "how">) =>
  process.stdout.write(`\n${JSON.stringify({ how, ...rest } satisfies Reply)}\n`, () => process.exit(0))

const leftOut = leavesOut[order.case]
if (leftOut === undefined) {
  const program = new Program(order.case, isIt)
  setTimeout(() => reply({ trace: program.trace, ended: false }), order.limit)
  run(program, order.place).then(
    () => reply({ trace: program.trace, ended: true }),
    (error: unknown) =>
      reply({
        trace: program.trace,
        ended: false,
        problem: error instanceof Error ? error.stack ?? error.message : String(error)
      })
  )
} else reply({ leftOut, trace: [], ended: true })
