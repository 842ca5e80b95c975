/**
 * 03: how a job can end, and what its caller sees.
 *
 * - a failure that the task declares arrives typed, after the retries that its policy allows
 * - `Decide` ends a job, or an attempt, without inventing a result: discard, dead, retry, snooze
 * - a dead job keeps its history and can be run again
 *
 *     node --conditions=windlass-source examples/03-typed-errors-and-outcomes/main.ts
 */
import { Console, Effect, Layer, Option, References, Schedule, Schema, Stream } from "effect"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import * as Decide from "windlass/Decide"
import * as Job from "windlass/Job"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"

class Busy extends Schema.TaggedError<Busy>()("Busy", { city: Schema.String }) {}
class NoSuchCity extends Schema.TaggedError<NoSuchCity>()("NoSuchCity", { city: Schema.String }) {}

class Forecast extends Task.make("Forecast", {
  payload: { city: Schema.String },
  success: Schema.String,
  error: Schema.Union([Busy, NoSuchCity]),
  retry: {
    schedule: Schedule.spaced("10 millis"),
    maxAttempts: 3,
    // a city that does not exist will not exist in a moment: only what may pass is tried again
    while: (failure) => failure._tag === "Busy"
  }
}) {}

const cities = new Map([["Paris", "sunny"], ["Oslo", "snow"], ["Rome", "hot"]])

const ForecastLive = Forecast.toLayer(Effect.fnUntraced(function*({ city }) {
  const { attempt } = yield* Job.Current
  switch (city) {
    case "Oslo": // busy twice
      if (attempt < 3) return yield* new Busy({ city })
      break
    case "Lima": // always busy
      return yield* new Busy({ city })
    case "Atlantis":
      return yield* Decide.discard("it sank")
    case "Gotham":
      return yield* Decide.dead("only Batman knows")
    case "Rome": // asks for one more attempt itself, whatever the policy says about the failure
      if (attempt === 1) return yield* Decide.retry({ after: "5 millis", reason: "siesta" })
  }
  const weather = cities.get(city)
  return weather === undefined ? yield* new NoSuchCity({ city }) : `${weather} (attempt ${attempt})`
}))

let awake = false
class Nightly extends Task.make("Nightly", { success: Schema.String }) {}

const NightlyLive = Nightly.toLayer(Effect.fnUntraced(function*() {
  const { attempt } = yield* Job.Current
  if (!awake) {
    awake = true
    // not now: it comes back, and no attempt is spent
    return yield* Decide.snooze("10 millis", "outside of the window")
  }
  return `done (attempt ${attempt})`
}))

/** every end that is no success is a typed failure here: the task's own, and those that a decision leads to */
const ask = (city: string) =>
  Forecast.execute({ city }).pipe(
    Effect.catchTags({
      Busy: () => Effect.succeed("Busy: given up after three attempts"),
      NoSuchCity: (error) => Effect.succeed(`NoSuchCity: ${error.city}`),
      "windlass/Discarded": (error) => Effect.succeed(`discarded: ${error.reason}`),
      "windlass/Dead": (error) => Effect.succeed(`dead, and not by a failure: ${error.reason}`)
    }),
    Effect.flatMap((answer) => Console.log(`${city}: ${answer}`))
  )

const program = Effect.gen(function*() {
  yield* Effect.forEach(["Paris", "Oslo", "Lima", "Utopia", "Atlantis", "Gotham", "Rome"], ask, { discard: true })
  yield* Console.log(`nightly: ${yield* Nightly.execute()}`)

  // what is dead waits there for somebody to look at it
  const deadLetters = yield* Capability.DeadLetter
  const dead = yield* Stream.runCollect(deadLetters.list("default"))
  for (const job of dead) {
    yield* Console.log(`dead letter: ${job.envelope.payload} ${job.reason}, ${job.attempt} attempts, ${job.error}`)
  }

  // the world has changed: those that failed run again, with their history
  cities.set("Utopia", "perfect")
  const again = dead.find((job) => job.envelope.payload.includes("Utopia"))!
  const redriven = yield* deadLetters.retry(again.envelope.id)
  const results = yield* Capability.Results
  const { state } = yield* results.await(again.envelope.id)
  const record = yield* (yield* Capability.Inspect).get(again.envelope.id)
  const history = Option.match(record, { onNone: () => [], onSome: (job) => job.history.map((line) => line.event) })
  yield* Console.log(`redriven: ${redriven}, now ${state}: ${history.join(", ")}`)
})

await Effect.runPromise(program.pipe(
  Effect.provide(
    Worker.layer(TaskGroup.make(Forecast, Nightly)).pipe(
      Layer.provide([ForecastLive, NightlyLive]),
      Layer.provideMerge(MemoryBackend.layer)
    )
  ),
  Effect.provideService(References.MinimumLogLevel, "Fatal")
))
