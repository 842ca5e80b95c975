/**
 * The program of `npm start`, with marks: at the n-th time that it comes to the place that `MARK` names, it says so on
 * its output and stops right there, so that whoever kills it on seeing the mark knows where it died.
 *
 *     MARK=enqueued:3     after the third batch of files was stored, within the walk of a directory
 *     MARK=walked:40      after the 40th directory was walked, before its job is settled
 *     MARK=handler:100    in the handler of the 100th file, before its row is written
 *     MARK=stored:100     after the row of the 100th file was written, before its job is settled
 *     MARK=failed:3       after the row of the third failure was written, before its job is settled
 */
import { Effect, Layer } from "effect"
import * as Fs from "node:fs"
import { Enqueue, Worker } from "windlass"
import * as App from "../../examples/00-index-a-tree/app.ts"
import * as Options from "../../examples/00-index-a-tree/options.ts"
import * as Store from "../../examples/00-index-a-tree/store.ts"
import { IndexFile } from "../../examples/00-index-a-tree/tasks.ts"

const [mark = "", count = "1"] = (process.env["MARK"] ?? "").split(":")
let passed = 0

const at = (name: string): Effect.Effect<void> =>
  Effect.suspend(() => {
    if (name !== mark || ++passed !== Number(count)) return Effect.void
    Fs.writeSync(1, `mark ${mark}:${count}\n`)
    return Effect.never
  })

const store = (filename: string) =>
  Layer.effect(
    Store.Index,
    Effect.map(Store.Index, (index) => ({
      ...index,
      save: (file: Parameters<typeof index.save>[0]) =>
        at("handler").pipe(Effect.andThen(index.save(file)), Effect.andThen(at("stored"))),
      fail: (failure: Parameters<typeof index.fail>[0]) => Effect.andThen(index.fail(failure), at("failed")),
      listed: (directory: Parameters<typeof index.listed>[0]) => Effect.andThen(index.listed(directory), at("walked"))
    }))
  ).pipe(Layer.provide(Store.layer(filename)))

const enqueueing = Enqueue.layer((next, batch) =>
  Effect.tap(next(batch), () => batch.task === IndexFile._tag ? at("enqueued") : Effect.void)
)

const options = Options.parse(process.argv.slice(2), { project: "/", cwd: process.cwd(), env: process.env })
if ("problem" in options) throw new Error(options.problem)

Worker.run(
  App.layer(options, { screen: process.stdout, env: process.env, again: "again", ask: "ask", store }).pipe(
    Layer.provide(enqueueing)
  )
)
