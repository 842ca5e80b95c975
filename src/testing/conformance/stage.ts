/**
 * A queue of its own for one case, and short words for what cases do with it. Jobs go by short names here; on the
 * engine their ids, keys and queues are new in every run, so that cases can share an engine with others.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import {
  Backend,
  type Delivery,
  type Envelope,
  type Item,
  type Published,
  type Settlement,
  type Subscription
} from "../../Backend.ts"
import { equal, fail, Harness } from "./harness.ts"

export interface ItemOptions extends Omit<Item, "envelope"> {
  readonly task?: string | undefined
  readonly payload?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

export const stage = Effect.gen(function*() {
  const backend = yield* Backend
  const { fresh } = yield* Harness
  yield* backend.declare(fresh)
  const id = (name: string) => `${fresh}:${name}`
  const envelope = (name: string, options: ItemOptions): Envelope => ({
    id: id(name),
    task: options.task ?? "Conformance",
    version: 1,
    payload: options.payload ?? JSON.stringify({ name }),
    headers: options.headers ?? {},
    origin: "user"
  })
  const item = (name: string, options: ItemOptions = {}): Item => {
    const { headers: _headers, payload: _payload, task: _task, ...rest } = options
    return { envelope: envelope(name, options), ...rest }
  }
  return {
    backend,
    queue: fresh,
    other: (name: string) => `${fresh}-${name}`,
    id,
    name: (id: string) => id.startsWith(`${fresh}:`) ? id.slice(fresh.length + 1) : id,
    item,
    publish: Effect.fnUntraced(function*(
      ...items: ReadonlyArray<string | readonly [name: string, options: ItemOptions]>
    ) {
      const answers = yield* backend.publish(
        fresh,
        items.map((entry) => typeof entry === "string" ? item(entry) : item(entry[0], entry[1]))
      )
      yield* equal(tags(answers), items.map(() => "Stored"), "answers of a publish of new jobs")
    }),
    subscribe: (worker: string) => backend.subscribe(fresh, { worker })
  }
})

export type Stage = Effect.Success<typeof stage>

export const tags = (answers: ReadonlyArray<Published>): ReadonlyArray<Published["_tag"]> =>
  answers.map(({ _tag }) => _tag)

export const names = (stage: { readonly name: (id: string) => string }, deliveries: ReadonlyArray<Delivery>) =>
  deliveries.map(({ envelope }) => stage.name(envelope.id))

export const succeeded: Settlement.Complete = {
  _tag: "Complete",
  how: "succeeded",
  exit: undefined,
  reason: undefined
}

export const dead = (reason: string, error?: string): Settlement.Dead => ({
  _tag: "Dead",
  reason,
  error,
  exit: undefined
})

/** a failed attempt that goes to the end of the queue at once, unless said otherwise */
export const retry = (options: Partial<Settlement.Retry> = {}): Settlement.Retry => ({
  _tag: "Retry",
  why: "failed",
  after: 0,
  attempt: "spent",
  place: "back",
  error: undefined,
  ...options
})

/** claims one job, which must be there */
export const takeOne = Effect.fnUntraced(function*(subscription: Subscription, what = "a job that is claimable") {
  const deliveries = yield* subscription.take(1)
  if (deliveries.length !== 1) return yield* fail(`take(1) returned ${deliveries.length} deliveries, expected ${what}`)
  return deliveries[0]!
})

/** settles one delivery, which must take effect */
export const settle = Effect.fnUntraced(
  function*(subscription: Subscription, delivery: Delivery, settlement: Settlement) {
    const answers = yield* subscription.settle([[delivery.receipt, settlement]])
    yield* equal(answers, ["Settled"], `answer to the ${settlement._tag} of the owner`)
  }
)

/** as a worker does: claims, and waits when there is nothing, no longer than the engine advises */
export const receive = (subscription: Subscription): ReturnType<Subscription["take"]> =>
  Effect.flatMap(subscription.take(1), (deliveries) =>
    deliveries.length > 0
      ? Effect.succeed(deliveries)
      // a false alarm is allowed: it must not keep everybody else from running
      : Effect.flatMap(Effect.andThen(waitForWork(subscription, 1), Effect.yieldNow), () => receive(subscription)))

export const waitForWork = (subscription: Subscription, max: number): ReturnType<Subscription["await"]> =>
  subscription.pollMillis === undefined
    ? subscription.await(max)
    : Effect.raceFirst(subscription.await(max), Effect.sleep(subscription.pollMillis))

/** claims until it has so many, as an engine may hand them out in smaller lots */
export const drain = Effect.fnUntraced(function*(subscription: Subscription, count: number) {
  const deliveries: Array<Delivery> = []
  while (deliveries.length < count) {
    const more = yield* subscription.take(count - deliveries.length)
    if (more.length === 0) {
      return yield* fail(`${deliveries.length} of ${count} jobs were handed out, then take returned none`)
    }
    deliveries.push(...more)
  }
  return deliveries
})

/** milliseconds of the subscription's lease */
export const leaseMillis = (subscription: Subscription): number =>
  subscription.lease._tag === "Timed" ? subscription.lease.millis : Infinity

/** lets the leases of a subscription run out, on an engine that may be a little late */
export const expire = Effect.fnUntraced(function*(subscription: Subscription) {
  const { advance, slack } = yield* Harness
  yield* advance(leaseMillis(subscription) + slack)
})

export const extend = Effect.fnUntraced(function*(subscription: Subscription, ...deliveries: ReadonlyArray<Delivery>) {
  if (subscription.lease._tag !== "Timed") return yield* fail("the lease is not timed")
  return yield* subscription.lease.extend(deliveries.map(({ receipt }) => receipt))
})
