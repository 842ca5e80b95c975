/**
 * 15: Amazon SQS. A standard queue with a delay and retries, a FIFO queue with a group; what dies goes to the queue of dead
 * letters. Needs SQS, or something that speaks its protocol:
 *
 *     npx fauxqs &      # a server for tests, on port 4566
 *     AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test WINDLASS_SQS_ENDPOINT=http://127.0.0.1:4566 \
 *       node --conditions=windlass-source examples/15-sqs/main.ts
 *
 * Without WINDLASS_SQS_ENDPOINT it is the SQS of AWS_REGION, where it makes four queues that begin with `windlass-15-`.
 */
import { Config, Console, Effect, Fiber, Layer, Option, References, Stream } from "effect"
import * as SqsBackend from "windlass/backends/SqsBackend"
import * as Enqueue from "windlass/Enqueue"
import * as Worker from "windlass/Worker"
import { Book, BookLive, Books, Ping, PingLive, Pings } from "./tasks.ts"

const settings = Config.all({
  region: Config.String("AWS_REGION").pipe(Config.withDefault("us-east-1")),
  endpoint: Config.String("WINDLASS_SQS_ENDPOINT").pipe(Config.option, Config.map(Option.getOrUndefined)),
  prefix: Config.succeed("windlass-15-"),
  create: Config.succeed(true)
})

/** runs a program beside a worker until so many jobs are over */
const until = (over: number) =>
  Effect.flatMap(Worker.Worker, ({ events }) =>
    events.pipe(
      Stream.filter(({ _tag }) => _tag === "Succeeded" || _tag === "Dead"),
      Stream.take(over),
      Stream.runDrain
    ))

const standard = Effect.gen(function*() {
  yield* Console.log("a standard queue:")
  const over = yield* Effect.forkChild(until(2), { startImmediately: true })
  yield* Ping.enqueue({ host: "up" })
  // up to a quarter of an hour: a longer delay is a typed error, and one on the FIFO queue does not compile
  yield* Ping.enqueue({ host: "down" }).pipe(Enqueue.delay("1 second"))
  yield* Fiber.join(over)
  yield* Console.log("\"down\" is a dead letter")
}).pipe(
  Effect.provide(
    Worker.layer(Pings, { logJobs: false }).pipe(
      Layer.provide(PingLive),
      Layer.provideMerge(Layer.unwrap(Effect.map(settings, (settings) => SqsBackend.layer(settings))))
    )
  )
)

const fifo = Effect.gen(function*() {
  yield* Console.log("a FIFO queue:")
  const over = yield* Effect.forkChild(until(3), { startImmediately: true })
  yield* Book.enqueueMany([10, -3, 5].map((amount) => ({ account: "ann", amount }))).pipe(Enqueue.group("ann"))
  yield* Fiber.join(over)
}).pipe(
  Effect.provide(
    Worker.layer(Books, { logJobs: false }).pipe(
      Layer.provide(BookLive),
      Layer.provideMerge(Layer.unwrap(Effect.map(settings, (settings) => SqsBackend.layerFifo(settings))))
    )
  )
)

await Effect.runPromise(
  Effect.andThen(standard, fifo).pipe(Effect.provideService(References.MinimumLogLevel, "Fatal"))
)
