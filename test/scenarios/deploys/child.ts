/**
 * One process of one version: `node child.ts ROLE VERSION ENGINE WHERE SPACE ...`. It says what it does on its standard
 * output, a line each.
 *
 * - `produce ... PREFIX TASKS`: enqueues as many of each task as TASKS (JSON) says, says `stored ID` and ends
 * - `work ... EFFECTS UNKNOWN_FOR`: works until it is told to stop; says `ready`, what its handlers say (effects.ts), and
 *   `released ID`, `dead ID REASON`
 */
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Stream from "effect/Stream"
import * as Worker from "windlass/Worker"
import { handlerOf, say } from "./effects.ts"
import { produce, type Version } from "./produce.ts"
import { open, type Place } from "./queue.ts"
import * as v1 from "./v1.ts"
import * as v2 from "./v2.ts"

const [role, version, engine = "", where = "", space = "", ...args] = process.argv.slice(2)
const queue = open({ engine: engine as Place["engine"], where, space })

if (role === "produce") {
  const [prefix, tasks] = args
  const ids = await Effect.runPromise(
    Effect.provide(produce(version as Version, prefix!, JSON.parse(tasks!) as Record<string, number>), queue)
  )
  for (const id of ids) say(`stored ${id}`)
} else {
  const [effects = "", unknownFor = "3600000"] = args
  const { worker } = version === "old" ? v1 : v2
  const follow = Effect.gen(function*() {
    yield* Worker.events.pipe(
      Stream.runForEach((event) =>
        Effect.sync(() => {
          if (event._tag === "Released") say(`released ${event.id}`)
          if (event._tag === "Dead") say(`dead ${event.id} ${event.detail}`)
        })
      ),
      Effect.forkScoped({ startImmediately: true })
    )
    say("ready")
  })
  const Live = worker(handlerOf(effects), { id: version!, concurrency: 4, unknownFor: Number(unknownFor) })
  Layer.effectDiscard(follow).pipe(Layer.provideMerge(Live), Layer.provide(queue), Worker.run)
}
