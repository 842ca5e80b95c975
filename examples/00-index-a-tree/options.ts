/** The command line. */
import * as NodePath from "node:path"
import { parseArgs } from "node:util"

export interface Options {
  /** as given; may not exist */
  readonly root: string
  readonly database: string
  readonly queue: string
  readonly concurrency: number
  readonly trace: string | undefined
}

export const usage = `npm start [-- [DIR] [--db FILE] [--concurrency N] [--trace FILE]]

  DIR            the tree to index; the project's own folder unless given
  --db           the index, an SQLite file; index.db in this folder unless given. The queue is kept next to it
  --concurrency  files worked on at once; 16 unless given
  --trace        appends a line of JSON per span`

export const parse = (
  args: ReadonlyArray<string>,
  place: { readonly project: string; readonly cwd: string; readonly env: Readonly<Record<string, string | undefined>> }
): Options | { readonly problem: string } => {
  // npm runs scripts in the project's folder and says where it was called: paths are meant from there
  const here = place.env["npm_lifecycle_event"] === "start" ? place.env["INIT_CWD"] ?? place.cwd : place.cwd
  try {
    const { positionals, values } = parseArgs({
      args: [...args],
      allowPositionals: true,
      options: {
        db: { type: "string", default: "index.db" },
        concurrency: { type: "string", default: "16" },
        trace: { type: "string" },
        help: { type: "boolean", short: "h" }
      }
    })
    if (values.help === true) return { problem: "" }
    if (positionals.length > 1) return { problem: `one tree at a time, these are ${positionals.length}` }
    const concurrency = Number(values.concurrency)
    if (!Number.isInteger(concurrency) || concurrency < 1) {
      return { problem: `--concurrency ${values.concurrency} is not a number from 1` }
    }
    const database = NodePath.resolve(here, values.db)
    return {
      root: positionals[0] === undefined ? place.project : NodePath.resolve(here, positionals[0]),
      database,
      queue: database.replace(/(\.db)?$/, ".queue.db"),
      concurrency,
      trace: values.trace === undefined ? undefined : NodePath.resolve(here, values.trace)
    }
  } catch (error) {
    return { problem: error instanceof Error ? error.message : String(error) }
  }
}
