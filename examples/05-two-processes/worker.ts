/**
 * Works until it is told to stop. The first SIGTERM (or Ctrl-C) drains: no new jobs, the running ones finish, exit code 0.
 * The second interrupts them, and they go back into the queue; the third exits at once.
 */
import { Console, Effect, Layer } from "effect"
import * as TaskGroup from "windlass/TaskGroup"
import * as Worker from "windlass/Worker"
import { Greet, QueueLive } from "./tasks.ts"

const GreetLive = Greet.toLayer(({ name }) =>
  Effect.sleep("100 millis").pipe(Effect.andThen(Console.log(`hello ${name}`)))
)

Worker.layer(TaskGroup.make(Greet), { concurrency: 4 }).pipe(
  Layer.provide(GreetLive),
  Layer.provide(QueueLive),
  Worker.run
)
