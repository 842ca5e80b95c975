/**
 * Handlers in processes of their own: what crosses, what a stop does, and what becomes of a job whose process dies. Real
 * processes, in real time.
 */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as Queue from "effect/Queue"
import * as References from "effect/References"
import * as Tracer from "effect/Tracer"
import * as Capability from "windlass/Capability"
import * as Enqueue from "windlass/Enqueue"
import * as Isolated from "windlass/isolation/Isolated"
import { IsolateDied } from "windlass/isolation/IsolateDied"
import * as Job from "windlass/Job"
import * as Middleware from "windlass/Middleware"
import * as Worker from "windlass/Worker"
import { inherited } from "../../src/isolation/internal/inherited.ts"
import { record } from "../support/backends.ts"
import { beside, isThere, options, program } from "./support.ts"
import { Again, Odd, Quick, Rejected, Short, Undeclared, Unserved } from "./tasks.ts"

const long = 120_000

describe("what crosses", () => {
  it.live(
    "payload, success, typed failure, defect and Decide, by the task's schemas",
    () =>
      beside({}, () =>
        Effect.gen(function*() {
          const at = new Date("2026-03-29T01:30:00Z")
          assert.strictEqual(yield* Odd.execute({ what: "echo", at }), "steam 2026-03-29T01:30:00.000Z")
          const failure = yield* Effect.flip(Odd.execute({ what: "reject" }))
          assert.instanceOf(failure, Rejected)
          assert.strictEqual(failure.code, 550)
          const defect = yield* Effect.flip(Odd.execute({ what: "die" }))
          assert.instanceOf(defect, Job.Dead)
          assert.include((defect as Job.Dead).detail, "a defect")
          const discarded = yield* Effect.flip(Odd.execute({ what: "discard" }))
          assert.instanceOf(discarded, Job.Discarded)
          assert.strictEqual((discarded as Job.Discarded).reason, "not wanted")
          const misfit = yield* Effect.flip(Odd.execute({ what: "misfit" }))
          assert.include((misfit as Job.Dead).detail, "does not fit its schema")
        })),
    long
  )

  it.live(
    "the job: its facts, its forks, what is left of its time",
    () =>
      beside({}, (heard) =>
        Effect.gen(function*() {
          const said = yield* Short.execute({ what: "job" }).pipe(
            Enqueue.id("j-1"),
            Enqueue.headers({ tenant: "acme" })
          )
          assert.strictEqual(said, "j-1 Short default 1 true acme true")
          assert.strictEqual(yield* Odd.execute({ what: "fork" }), "over")
          // a fork is joined before the scope of the handler closes (L15)
          yield* heard.line("joined: forked")
          const failure = yield* Effect.flip(Odd.execute({ what: "failing fork" }))
          assert.instanceOf(failure, Rejected)
        })),
    long
  )

  it.live(
    "logs go through the parent's loggers with the job's annotations, and no line below the parent's level",
    () =>
      beside({}, (heard) =>
        Effect.gen(function*() {
          yield* Odd.execute({ what: "log" }).pipe(Enqueue.id("j-1"))
          const line = yield* heard.line("half full")
          assert.strictEqual(line.level, "Warn")
          assert.strictEqual(line.message, "half full {\"of\":\"water\"}")
          assert.include(line.annotations, { job: "j-1", task: "Odd", attempt: 1, queue: "default", glass: "7" })
          assert.isFalse(heard.lines.some(({ message }) => message.includes("whispered")))
        })),
    long
  )

  it.live("log lines of a level that the parent wants come too", () =>
    beside({}, (heard) =>
      Effect.gen(function*() {
        yield* Odd.execute({ what: "log" })
        assert.strictEqual((yield* heard.line("whispered")).level, "Debug")
      })).pipe(Effect.provideService(References.MinimumLogLevel, "Debug")), long)

  it.live("the trace context: the handler's spans are children of the parent's", () => {
    const spans: Array<Tracer.Span> = []
    const tracer = Tracer.make({
      span: (options) => {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return beside({}, () =>
      Effect.gen(function*() {
        const said = yield* Odd.execute({ what: "trace" }).pipe(Effect.withSpan("producer"))
        const run = spans.find(({ name }) => name === "Odd")!
        assert.strictEqual(said, `${run.traceId} ${run.spanId}`)
        assert.strictEqual(run.traceId, spans.find(({ name }) => name === "producer")!.traceId)
      })).pipe(Effect.provideService(Tracer.Tracer, tracer))
  }, long)

  it.live("progress is stored with the job while it runs", () =>
    beside({}, (heard) =>
      Effect.gen(function*() {
        const id = yield* Odd.enqueue({ what: "progress" })
        yield* Queue.take(heard.progress)
        const running = yield* record(id)
        assert.strictEqual(running.state, "active")
        assert.strictEqual(running.progress, "{\"done\":3,\"of\":4}")
        yield* Effect.flatMap(Capability.Cancel, (cancel) => cancel.request(id))
        yield* Effect.flatMap(Capability.Results, (results) => results.await(id))
      })), long)

  it.live("where the next attempt goes", () =>
    beside({}, () =>
      Effect.gen(function*() {
        assert.strictEqual(yield* Again.execute({ what: "reroute" }), "priority 7")
      })), long)
})

describe("a process that dies", () => {
  it.live(
    "process.exit: a typed failure, tried again as the task says, in a new process",
    () =>
      beside({}, () =>
        Effect.gen(function*() {
          const before = yield* Quick.execute({ n: 0 })
          assert.strictEqual(yield* Again.execute({ what: "exit" }), "attempt 2")
          const died = yield* Effect.flip(Odd.execute({ what: "exit" }))
          assert.instanceOf(died, IsolateDied)
          assert.deepInclude(died as IsolateDied, { phase: "run", exitCode: 3, signal: null, detail: "it had enough" })
          assert.notStrictEqual(yield* Quick.execute({ n: 0 }), before)
          assert.isFalse(isThere(Number(before)))
        })),
    long
  )

  it.live("a task that does not declare it dies of it as of a defect", () =>
    beside({}, () =>
      Effect.gen(function*() {
        const dead = yield* Effect.flip(Undeclared.execute({ code: 9 }))
        assert.instanceOf(dead, Job.Dead)
        assert.include((dead as Job.Dead).detail, "ended with exit code 9 while it ran the job")
      })), long)

  it.live("kill -9 from outside", () =>
    beside({}, (heard) =>
      Effect.gen(function*() {
        const waits = yield* Effect.forkChild(Effect.flip(Odd.execute({ what: "wait" })))
        const { value } = yield* Queue.take(heard.progress)
        process.kill(value as number, "SIGKILL")
        const died = yield* Fiber.join(waits)
        assert.instanceOf(died, IsolateDied)
        assert.deepInclude(died as IsolateDied, { phase: "run", exitCode: null, signal: "SIGKILL" })
      })), long)

  it.live(
    "kill -9 while it has nothing to do: the next job gets another one",
    () =>
      beside({}, () =>
        Effect.gen(function*() {
          const before = Number(yield* Quick.execute({ n: 0 }))
          process.kill(before, "SIGKILL")
          // until this process has buried it, it cannot know
          while (isThere(before)) yield* Effect.promise(() => new Promise(setImmediate))
          const after = Number(yield* Odd.execute({ what: "pid" }))
          assert.notStrictEqual(after, before)
        })),
    long
  )

  it.live(
    "out of memory: a typed failure that says so, and other jobs go on",
    () =>
      beside({ memory: "64 MiB", pool: 2 }, () =>
        Effect.gen(function*() {
          const hogs = yield* Effect.forkChild(Effect.flip(Odd.execute({ what: "hog" })))
          for (let n = 0; n < 20; n++) yield* Quick.execute({ n })
          const died = yield* Fiber.join(hogs)
          assert.instanceOf(died, IsolateDied)
          assert.strictEqual((died as IsolateDied).detail, "out of memory: its heap is limited to 64 MiB")
          yield* Quick.execute({ n: 21 })
        })),
    long
  )

  it.live("middleware runs in the parent, around it, and sees what the process died of (L3)", () => {
    const seen: Array<unknown> = []
    const watch = Middleware.hooks({
      before: () => Effect.sync(() => seen.push(process.pid)),
      after: (exit) => Effect.sync(() => void seen.push(exit._tag))
    })
    return beside({ worker: { middleware: [Middleware.make("watch", watch)] } }, () =>
      Effect.gen(function*() {
        const died = yield* Effect.flip(Odd.execute({ what: "exit" }))
        assert.instanceOf(died, IsolateDied)
        assert.deepStrictEqual(seen, [process.pid, "Failure"])
      }))
  }, long)
})

describe("a stop", () => {
  it.live(
    "an endless loop is killed after its time-out (L17)",
    () =>
      beside({ grace: "100 millis" }, (heard) =>
        Effect.gen(function*() {
          const spins = yield* Effect.forkChild(Effect.flip(Short.execute({ what: "spin" })))
          const { value } = yield* Queue.take(heard.progress)
          const dead = yield* Fiber.join(spins)
          assert.instanceOf(dead, Job.Dead)
          assert.strictEqual((dead as Job.Dead).reason, "timeout")
          assert.isFalse(isThere(value as number))
          assert.notStrictEqual(yield* Quick.execute({ n: 1 }), String(value))
        })),
    long
  )

  it.live(
    "other jobs do not notice that one burns the CPU, and its lease is renewed",
    () =>
      beside({ pool: 2, grace: "100 millis" }, (heard) =>
        Effect.gen(function*() {
          const spins = yield* Effect.forkChild(Effect.flip(Odd.execute({ what: "spin" })))
          const { id, value } = yield* Queue.take(heard.progress)
          for (let n = 0; n < 20; n++) assert.notStrictEqual(yield* Quick.execute({ n }), String(value))
          assert.strictEqual((yield* record(id)).state, "active")
          yield* Effect.flatMap(Capability.Cancel, (cancel) => cancel.request(id))
          assert.instanceOf(yield* Fiber.join(spins), Job.Aborted)
          assert.isFalse(isThere(value as number))
        })),
    long
  )

  it.live(
    "a shutdown interrupts the handler: its finalizers run, the job goes back, the process ends (L1)",
    () =>
      Effect.gen(function*() {
        const pids: Array<number> = []
        const lines = yield* beside({ worker: { shutdownGrace: 0 } }, (heard) =>
          Effect.gen(function*() {
            const id = yield* Odd.enqueue({ what: "wait" })
            pids.push((yield* Queue.take(heard.progress)).value as number)
            const report = yield* Worker.stop
            assert.strictEqual(report.interrupted, 1)
            assert.strictEqual((yield* record(id)).state, "ready")
            assert.isTrue(isThere(pids[0]!), "asked politely, it is free for the next job")
            return heard.lines
          }))
        assert.isTrue(lines.some(({ message }) => message === "released, for shutdown"))
        // the resources of the process are closed with the layer, and it is gone when the layer is
        assert.isTrue(lines.some(({ message }) => message === "engine released"))
        assert.isFalse(isThere(pids[0]!))
      }),
    long
  )

  it.live(
    "an abort interrupts the handler, and the job is aborted",
    () =>
      beside({}, (heard) =>
        Effect.gen(function*() {
          const waits = yield* Effect.forkChild(Effect.flip(Odd.execute({ what: "wait" })))
          const { id } = yield* Queue.take(heard.progress)
          yield* Effect.flatMap(Capability.Cancel, (cancel) => cancel.request(id))
          assert.instanceOf(yield* Fiber.join(waits), Job.Aborted)
          yield* heard.line("released, for aborted")
        })),
    long
  )

  it.live(
    "a handler that does not listen is killed after the grace period",
    () =>
      beside({ grace: 0 }, (heard) =>
        Effect.gen(function*() {
          const before = Number(yield* Quick.execute({ n: 0 }))
          const deaf = yield* Effect.forkChild(Effect.flip(Odd.execute({ what: "deaf" })))
          const { id } = yield* Queue.take(heard.progress)
          yield* Effect.flatMap(Capability.Cancel, (cancel) => cancel.request(id))
          assert.instanceOf(yield* Fiber.join(deaf), Job.Aborted)
          assert.isFalse(isThere(before))
          assert.notStrictEqual(Number(yield* Quick.execute({ n: 1 })), before)
        })),
    long
  )
})

describe("the pool", () => {
  it.live(
    "a thousand quick jobs through two processes",
    () =>
      beside({ pool: 2, worker: { concurrency: 20 } }, () =>
        Effect.gen(function*() {
          const pids = yield* Effect.forEach(
            Array.from({ length: 1_000 }, (_, n) => n),
            (n) => Quick.execute({ n }),
            { concurrency: 50 }
          )
          assert.isAtMost(new Set(pids).size, 2)
        })),
    long
  )

  it.live(
    "as many jobs at once as there are processes; the next waits for one that is free again",
    () =>
      beside({ pool: 2 }, (heard) =>
        Effect.gen(function*() {
          const cancel = yield* Capability.Cancel
          const ids = [yield* Odd.enqueue({ what: "wait" }), yield* Odd.enqueue({ what: "wait" })]
          const first = [yield* Queue.take(heard.progress), yield* Queue.take(heard.progress)]
          assert.strictEqual(new Set(first.map(({ value }) => value)).size, 2)
          const third = yield* Odd.enqueue({ what: "wait" })
          yield* cancel.request(first[1]!.id)
          assert.deepStrictEqual(yield* Queue.take(heard.progress), { id: third, value: first[1]!.value })
          for (const id of [...ids, third]) yield* cancel.request(id)
        })),
    long
  )

  it.live(
    "a process is replaced after so many jobs, and the old one is gone",
    () =>
      beside({ recycleAfter: 2 }, () =>
        Effect.gen(function*() {
          const pids: Array<string> = []
          for (let n = 0; n < 6; n++) pids.push(yield* Quick.execute({ n }))
          assert.strictEqual(new Set(pids).size, 3)
          assert.deepStrictEqual(pids.filter((_, n) => n % 2 === 0), pids.filter((_, n) => n % 2 === 1))
          assert.deepStrictEqual(pids.slice(0, 4).filter((pid) => isThere(Number(pid))), [])
        })),
    long
  )

  it.live("no process is left when the layer is over", () =>
    Effect.gen(function*() {
      const pids = yield* beside({ pool: 3 }, () =>
        Effect.forEach(Array.from({ length: 9 }, (_, n) => n), (n) => Quick.execute({ n }), { concurrency: 9 }))
      assert.deepStrictEqual(
        pids.filter((pid) =>
          isThere(Number(pid))
        ),
        []
      )
    }), long)
})

describe("the start of a process", () => {
  const failed = (name: string, settings: Partial<Isolated.Options> = {}) =>
    Effect.map(
      Effect.flip(Effect.scoped(Layer.build(Isolated.toLayer([Quick, Unserved], { ...options(name), ...settings })))),
      (died) => {
        assert.strictEqual(died.phase, "start")
        return died
      }
    )

  it.live(
    "a module that does not serve a task of the layer",
    () =>
      Effect.map(failed("handlers.isolate.ts"), ({ detail }) => {
        assert.strictEqual(
          detail,
          "it serves Odd, Again, Short, Undeclared, Quick and not Unserved: add Isolated.handler(Unserved, ...) to what it serves"
        )
      }),
    long
  )

  it.live("a module whose layer fails", () =>
    Effect.map(failed("broken.isolate.ts"), ({ detail }) => {
      assert.include(detail, "its layer could not be built")
      assert.include(detail, "no database")
    }), long)

  it.live("a module that is not there", () =>
    Effect.map(failed("nowhere.ts"), ({ detail, exitCode }) => {
      assert.strictEqual(exitCode, 1)
      assert.include(detail, "ERR_MODULE_NOT_FOUND")
    }), long)

  it.live(
    "a module that never serves: given up after the start time-out, and the process is gone",
    () =>
      Effect.gen(function*() {
        const { detail, message } = yield* failed("endless.isolate.ts", { startTimeout: 0, grace: "1 hour" })
        assert.include(detail, "it was not ready within 0 ms")
        assert.include(message, "was given up while it started")
      }),
    long
  )

  it("takes over how this process finds its modules, and not what it runs", () => {
    const own = [
      "--conditions=a",
      "-e",
      "code",
      "--inspect-brk=1",
      "--inspect",
      "--enable-source-maps",
      "--test",
      "--import",
      "x"
    ]
    assert.deepStrictEqual(inherited(own), ["--conditions=a", "--enable-source-maps", "--import", "x"])
  })

  it("serve throws in a process that nobody started for it", () => {
    assert.throws(() => Isolated.serve(Layer.empty as never), /Isolated.serve was called outside/)
  })
})

describe("the processes and their parent", () => {
  it.live(
    "kill -9 of the parent: none of its processes outlives it, neither the idle one nor the one in a loop",
    () =>
      Effect.gen(function*() {
        const parent = yield* program("spin")
        yield* parent.line("busy ")
        yield* parent.line("spinning")
        parent.kill("SIGKILL")
        // every process of the tree has the pipe open that this reads: it ends when the last of them is gone
        assert.strictEqual(yield* parent.closed, "SIGKILL")
      }),
    long
  )

  it.live(
    "SIGTERM to all of them: the busy one finishes its job, the worker drains, exit code 0",
    () =>
      Effect.gen(function*() {
        const parent = yield* program("hold")
        const pid = Number((yield* parent.line("busy")).split(" ")[1])
        // as Ctrl-C in a terminal, or a service manager that signals the whole group
        process.kill(pid, "SIGTERM")
        parent.kill("SIGTERM")
        yield* parent.line("drains")
        parent.say("go")
        assert.strictEqual(yield* parent.closed, 0)
        assert.include(parent.lines, "Odd: Succeeded")
      }),
    long
  )
})
