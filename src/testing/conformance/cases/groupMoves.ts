/**
 * Limits of groups that jobs come to without an enqueue, and many groups with limits at once.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import { DeadLetter, Reroute } from "../../../Capability.ts"
import { equal, Harness, holds, make } from "../harness.ts"
import { dead, drain, type ItemOptions, names, retry, settle, stage, succeeded, takeOne } from "../stage.ts"

const group = "g"

const members = (groupLimit: number | undefined, ...named: ReadonlyArray<string>) =>
  named.map((name) => [name, { group, groupLimit }] as const satisfies readonly [string, ItemOptions])

const prepared = Effect.fnUntraced(function*(queue: string, to: Parameters<Reroute["Service"]["prepare"]>[1]) {
  const reroute = yield* Reroute
  yield* reroute.prepare(queue, to)
  return to
})

export const groupMoves = [
  make(
    "groups/limit-redriven",
    [],
    "a redriven job leaves the limit of its group; where nobody is in it, the limit is the one it was enqueued with",
    ["Groups", "GroupLimit", "DeadLetter"],
    function*() {
      const deadLetter = yield* DeadLetter
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      yield* s.publish(...members(2, "a", "b", "c", "d"))
      for (const name of ["a", "b", "c", "d"]) {
        const delivery = yield* takeOne(subscription)
        yield* equal(s.name(delivery.envelope.id), name, "handed out")
        yield* settle(subscription, delivery, dead("failed"))
      }
      yield* s.publish(...members(undefined, "other"))
      const other = yield* takeOne(subscription)
      yield* equal(yield* deadLetter.retry(s.id("d")), true, "redriven")
      yield* equal(names(s, yield* subscription.take(10)), [], "the limit is what the last enqueue said")
      yield* settle(subscription, other, succeeded)
      const d = yield* takeOne(subscription)
      yield* equal(s.name(d.envelope.id), "d", "when the other has ended")
      yield* settle(subscription, d, succeeded)
      // nobody is in the group
      yield* equal(yield* deadLetter.redrive(s.queue), 3, "redriven")
      yield* equal((yield* subscription.take(10)).length, 2, "at once in a group that was forgotten")
      yield* equal((yield* subscription.take(10)).length, 0, "while these run")
    }
  ),

  make(
    "groups/limit-rerouted",
    [],
    "a job goes to another group under the limit which that has, or else with the one that it was enqueued with",
    ["Groups", "GroupLimit", "Reroute"],
    function*() {
      const s = yield* stage
      const subscription = yield* s.subscribe("w")
      const target = yield* prepared(s.queue, { group: "target" })
      // two come to a group whose limit is one
      yield* s.publish(["here", { group: "target" }])
      const here = yield* takeOne(subscription)
      yield* s.publish(...members(2, "a", "b"))
      const [a, b] = yield* drain(subscription, 2)
      yield* settle(subscription, a!, retry({ to: target }))
      yield* settle(subscription, b!, retry({ to: target }))
      yield* equal(names(s, yield* subscription.take(10)), [], "while the group's own job runs")
      yield* settle(subscription, here, succeeded)
      const again = yield* takeOne(subscription)
      yield* equal([s.name(again.envelope.id), again.group], ["a", "target"], "then, one at a time")
      yield* equal(names(s, yield* subscription.take(10)), [], "while the first runs")
      yield* settle(subscription, again, succeeded)
      yield* settle(subscription, yield* takeOne(subscription), succeeded)
      // and three to one that nobody is in: the first of them brings its limit
      yield* s.publish(...members(2, "c", "d"))
      const two = yield* drain(subscription, 2)
      yield* s.publish(...members(3, "e"))
      const moved = [...two, ...yield* drain(subscription, 1)]
      for (const delivery of moved) yield* settle(subscription, delivery, retry({ to: target }))
      yield* equal(names(s, yield* subscription.take(10)), ["c", "d"], "at once in a group that was forgotten")
      yield* equal(names(s, yield* subscription.take(10)), [], "while these run")
    }
  ),

  make(
    "groups/limit-rerouted-queue",
    [],
    "a group that goes along to another queue is another group there, and the slot that is left goes to the next",
    ["Groups", "GroupLimit", "Reroute"],
    function*() {
      const s = yield* stage
      const other = s.other("other")
      const here = yield* s.subscribe("w")
      const there = yield* s.backend.subscribe(other, { worker: "v" })
      const to = yield* prepared(s.queue, { queue: other })
      yield* s.publish(...members(2, "a", "b", "c", "d", "e"))
      const [a, b] = yield* drain(here, 2)
      yield* settle(here, a!, retry({ to }))
      yield* equal(names(s, yield* here.take(10)), ["c"], "in the slot that was left")
      yield* settle(here, b!, retry({ to }))
      const [d] = yield* drain(here, 1)
      yield* settle(here, d!, retry({ to }))
      const moved = yield* there.take(10)
      yield* equal(names(s, moved), ["a", "b"], "in the other queue, with the limit that they were enqueued with")
      yield* equal(moved.map((one) => one.group), [group, group], "groups of the deliveries")
      yield* equal(names(s, yield* there.take(10)), [], "while these run")
    }
  ),

  make(
    "groups/limit-many",
    ["PROC-40"],
    "many groups, several workers, retries: never more than the limit at once, starts in order, nothing is left over",
    ["Groups", "GroupLimit"],
    function*() {
      const { scale } = yield* Harness
      const s = yield* stage
      const each = 12
      const count = Math.max(4, Math.floor(20 / scale))
      const limitOf = (g: number) => 1 + (g % 4)
      for (let n = 0; n < each; n++) {
        yield* s.backend.publish(
          s.queue,
          Array.from({ length: count }, (_, g) => s.item(`${g}:${n}`, { group: `g${g}`, groupLimit: limitOf(g) }))
        )
      }
      const waiting = Array.from({ length: count }, () => Array.from({ length: each }, (_, n) => n))
      const running = Array.from({ length: count }, () => 0)
      const most = Array.from({ length: count }, () => 0)
      const problems: Array<string> = []
      let ended = 0
      const work = (worker: string) =>
        Effect.gen(function*() {
          const subscription = yield* s.subscribe(worker)
          while (ended < each * count) {
            const deliveries = yield* subscription.take(2 * count)
            const mine = deliveries.map((delivery) => {
              const [g, n] = s.name(delivery.envelope.id).split(":").map(Number) as [number, number]
              // answers of claims that run at the same time may overtake each other, but never more of them than slots
              const place = waiting[g]!.indexOf(n)
              if (place >= limitOf(g)) problems.push(`${n} of g${g} started before ${place} others`)
              waiting[g]!.splice(place, 1)
              running[g]!++
              most[g] = Math.max(most[g]!, running[g]!)
              if (running[g]! > limitOf(g)) {
                problems.push(`${running[g]} of g${g} ran at once, its limit is ${limitOf(g)}`)
              }
              return { delivery, g, n }
            })
            yield* Effect.yieldNow
            for (const { delivery, g, n } of mine) {
              const again = (g + n) % 3 === 0 && delivery.attempt === 1
              running[g]!--
              if (again) {
                waiting[g]!.push(n)
                waiting[g]!.sort((a, b) => a - b)
              } else ended++
              yield* settle(
                subscription,
                delivery,
                again ? retry({ place: n % 2 === 0 ? "back" : "front" }) : succeeded
              )
            }
          }
          return yield* subscription.take(1)
        })
      const left = yield* Effect.forEach(["one", "two", "three"], work, { concurrency: "unbounded" })
      yield* equal(problems, [], "problems")
      yield* equal(names(s, left.flat()), [], "left over")
      yield* equal(most, Array.from({ length: count }, (_, g) => limitOf(g)), "the most of each group that ran at once")
      yield* holds(waiting.every((one) => one.length === 0), "some never started")
    }
  )
]
