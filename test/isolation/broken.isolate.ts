/** A module whose resources cannot be had. */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Isolated from "windlass/isolation/Isolated"
import { Quick } from "./tasks.ts"

Isolated.serve(
  Isolated.handler(Quick, ({ n }) => Effect.succeed(String(n))).pipe(
    Layer.provide(Layer.effectDiscard(Effect.die(new Error("no database"))))
  )
)
