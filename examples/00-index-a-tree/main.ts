/**
 * `npm start [-- DIR]`: indexes a directory tree through a queue. Kill it at any moment and start it again.
 *
 * To read it: `tasks.ts` says what there is to do and through which middleware it runs, `handlers.ts` and
 * `middleware.ts` do it, `app.ts` puts it together. The rest is what any program has: a store, a progress bar, a summary.
 */
import * as NodePath from "node:path"
import { fileURLToPath } from "node:url"
import { Worker } from "windlass"
import * as App from "./app.ts"
import * as Options from "./options.ts"
import * as Store from "./store.ts"
import { quoted } from "./summary.ts"

const here = import.meta.dirname
const args = process.argv.slice(2)
const options = Options.parse(args, { project: NodePath.resolve(here, "../.."), cwd: process.cwd(), env: process.env })

if ("problem" in options) {
  const wrong = options.problem !== ""
  process[wrong ? "stderr" : "stdout"].write(`${wrong ? `${options.problem}\n\n` : ""}${Options.usage}\n`)
  process.exitCode = wrong ? 2 : 0
} else {
  // a reader that has seen enough (`| head`) is no reason to stop
  process.stdout.on("error", () => {})
  // signals, drain, exit code: the first Ctrl-C lets the running jobs finish
  Worker.run(App.layer(options, {
    screen: process.stdout,
    env: process.env,
    store: Store.layer,
    again: ["npm start", ...(args.length === 0 ? [] : ["--", ...args.map(quoted)])].join(" "),
    ask: `npx node ${quoted(NodePath.relative(process.cwd(), fileURLToPath(new URL("query.ts", import.meta.url))))}`
  }))
}
