/**
 * What the tests of SQS share: a server in process and a client of its own, backends on queues of their own, and short words.
 */
import * as Sqs from "@aws-sdk/client-sqs"
import { assert } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as References from "effect/References"
import { afterAll } from "vitest"
import { Backend, type Item, type Settlement, type Subscription } from "windlass/Backend"
import * as SqsBackend from "windlass/backends/SqsBackend"
import { between } from "./between.ts"
import { at, credentials, freshPrefix, start } from "./server.ts"

export const server = await start()

/** asks the server past the backend */
export const client = new Sqs.SQSClient({
  region: "us-east-1",
  endpoint: `http://127.0.0.1:${server.port}`,
  credentials,
  useQueueUrlAsEndpoint: false
})

afterAll(async () => {
  client.destroy()
  await server.stop()
})

export const item = (id: string, options: Partial<Item> = {}): Item => ({
  envelope: { id, task: "T", version: 1, payload: `"${id}"`, headers: {}, origin: "user" },
  ...options
})

export const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }
export const dead: Settlement = { _tag: "Dead", reason: "failed", error: "it\u0000 broke 🧵", exit: "{\"exit\":1}" }
export const retry = (options: Partial<Settlement.Retry> = {}): Settlement.Retry => ({
  _tag: "Retry",
  why: "failed",
  after: 0,
  attempt: "spent",
  place: "back",
  error: undefined,
  ...options
})

export const settings = { lease: "3 seconds", callTimeout: "5 seconds" } as const

/** a backend on queues of its own, and what the server has of them */
export const standard = (options: SqsBackend.Options = {}) => {
  const prefix = options.prefix ?? freshPrefix()
  const look = (queue: string) => {
    const found = server.inspectQueue(`${prefix}${queue}`)
    assert.isDefined(found, `there is a queue ${queue}`)
    return found!
  }
  return { prefix, look, layer: SqsBackend.layer(at(server, { ...settings, ...options, prefix })) }
}

export const build = <A, E>(layer: Layer.Layer<A, E>) =>
  Effect.provideService(Layer.build(layer), References.MinimumLogLevel, "None")

export const backendOf = <E>(layer: Layer.Layer<Backend, E>) => Effect.map(build(layer), Context.get(Backend))

export const takeOne = (subscription: Subscription) =>
  Effect.map(subscription.take(1), (deliveries) => {
    assert.strictEqual(deliveries.length, 1, "one delivery")
    return deliveries[0]!
  })

export const ids = (deliveries: ReadonlyArray<{ readonly envelope: { readonly id: string } }>) =>
  deliveries.map(({ envelope }) => envelope.id)

/** fails with this message */
export const refusedWith = <A, E extends { readonly message: string }, R>(
  effect: Effect.Effect<A, E, R>,
  words: RegExp
) =>
  Effect.map(Effect.flip(effect), (error) => {
    assert.match(error.message, words)
    return error
  })

/** a backend behind something that does to its calls what the test says; the client tries each call once */
export const behind = (options: SqsBackend.Options = {}) =>
  Effect.gen(function*() {
    const proxy = yield* Effect.acquireRelease(
      Effect.promise(() => between(server.port)),
      ({ close }) => Effect.promise(close)
    )
    const made = standard({ endpoint: proxy.endpoint, client: { credentials, maxAttempts: 1 }, ...options })
    return { proxy, backend: yield* backendOf(made.layer), look: made.look, layer: made.layer }
  })
