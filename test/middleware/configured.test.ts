/** Middleware that the configuration names: resolved when the worker starts, in its order, before anything is claimed. */
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import * as Middleware from "windlass/Middleware"
import * as Configured from "windlass/middleware/Configured"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { record, scenario } from "../support/backends.ts"

class Mail extends Context.Service<Mail, { readonly open: Effect.Effect<void> }>()("t/Mail") {}
class Audit extends Middleware.Service<Audit>()("t/Audit") {}
class NoMail extends Schema.TaggedError<NoMail>()("NoMail", {}) {}
class Work extends Task.make("Work") {}

const configured = (list: string | undefined) =>
  ConfigProvider.layer(ConfigProvider.fromEnv({ env: list === undefined ? {} : { MIDDLEWARE: list } }))
const names = Config.Array(Schema.String, "MIDDLEWARE")

/** a worker that drains, its registry, and what happened */
const setUp = (list: string | undefined, options: { readonly mail?: boolean } = {}) => {
  const seen: Array<string> = []
  const note = (line: string) => Effect.sync(() => void seen.push(line))
  const inline = (name: string) => Middleware.make(name, (next, input) => Effect.andThen(note(name), next(input)))
  const registry = {
    timing: inline("timing"),
    audit: Audit,
    mail: Effect.gen(function*() {
      const mail = yield* Mail
      yield* Effect.acquireRelease(mail.open, () => note("mail closed"))
      if (options.mail === false) return yield* new NoMail()
      yield* note("mail made")
      return inline("mail")
    }),
    watch: Middleware.observe({ name: "watch", after: (outcome) => void seen.push(`watch ${outcome._tag}`) }),
    toString: inline("toString")
  }
  const worker = Configured.layer(
    names,
    registry,
    (middleware) => Worker.layer(TaskGroup.make(Work), { mode: "drain", middleware: [...middleware, inline("last")] })
  ).pipe(
    Layer.provide([
      Work.toLayer(() => note("work")),
      Layer.succeed(Audit, Middleware.hooks({ before: () => note("audit") })),
      Layer.succeed(Mail, { open: note("mail open") })
    ]),
    Layer.provide(configured(list))
  )
  return { seen, worker }
}

describe("middleware by name", () => {
  scenario(
    "L5 the order of the configuration is the order of the list; an entry is made once, with the worker's life",
    () =>
      Effect.gen(function*() {
        const { seen, worker } = setUp("mail,audit,timing,watch")
        yield* Work.enqueue()
        yield* Work.enqueue()
        yield* Worker.launch(worker)
        const job = ["mail", "audit", "timing", "last", "work", "watch Succeeded"]
        assert.deepStrictEqual(seen.filter((line) => !line.startsWith("mail ")), [...job, ...job])
        assert.deepStrictEqual(seen.slice(0, 2), ["mail open", "mail made"])
        assert.strictEqual(seen.filter((line) => line === "mail made").length, 1)
        assert.strictEqual(seen.at(-1), "mail closed")
      })
  )

  scenario("L5 another order, and what is not in the list is not even made", () =>
    Effect.gen(function*() {
      const { seen, worker } = setUp("timing, audit")
      yield* Work.enqueue()
      yield* Worker.launch(worker)
      assert.deepStrictEqual(seen, ["timing", "audit", "last", "work"])
    }))

  const wrong = [
    [
      "a name that nobody knows",
      "timing,tracing,audit",
      "windlass/InvalidMiddlewareList",
      "\"tracing\" is not known here"
    ],
    ["a name of every object", "constructor", "windlass/InvalidMiddlewareList", "\"constructor\" is not known here"],
    ["a name that stands twice", "timing,audit,timing", "windlass/InvalidMiddlewareList", "\"timing\" stands twice"],
    ["a list that is not there", undefined, "ConfigError", "MIDDLEWARE"],
    ["an entry that cannot be made", "mail", "NoMail", ""]
  ] as const
  for (const [what, list, tag, words] of wrong) {
    scenario(`RT-05 ${what} keeps the worker from starting, and nothing is claimed`, () =>
      Effect.gen(function*() {
        const { seen, worker } = setUp(list, { mail: false })
        const id = yield* Work.enqueue()
        const error = yield* Effect.flip(Worker.launch(worker))
        assert.strictEqual(error._tag, tag)
        assert.include(error.message, words)
        if (error._tag === "windlass/InvalidMiddlewareList") {
          assert.deepStrictEqual(error.known, ["timing", "audit", "mail", "watch", "toString"])
          assert.deepStrictEqual(seen, [])
        }
        const job = yield* record(id)
        assert.deepStrictEqual([job.state, job.claimedAt], ["ready", undefined])
      }))
  }

  it.effect("RT-05 an empty list is a list", () =>
    Effect.gen(function*() {
      const timing: Effect.Effect<Middleware.Inline> = Effect.die("not in the list")
      assert.deepStrictEqual(yield* Configured.list(Config.succeed(["", " "]), { timing }), [])
    }))
})
