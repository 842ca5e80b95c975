/**
 * CloudEvents over HTTP as a source of deliveries: each event is a message for the channel of its address, run with its
 * whole chain while the request waits. There is no queue: the answer is the settlement, and sending again is the sender's.
 *
 * ```ts
 * const Live = HttpRouter.serve(CloudEvents.layer("/events", App)).pipe(
 *   Layer.provide(OrderPlacedLive),
 *   Layer.provide(NodeHttpServer.layer(createServer, { port: 8080 }))
 * )
 * ```
 *
 * | what it came to | answer |
 * |---|---|
 * | succeeded, discarded | 204 |
 * | failed, for this attempt or for good; nobody knows the address; snoozed | 500 with the message; `retry-after` if a delay was decided |
 * | cut short by the end of the server | 503 |
 * | no CloudEvent, or one whose data, parameters or headers do not fit the channel | 400 with the message |
 * | a body of more than 1 MiB (or what `HttpIncomingMessage.MaxBodySize` says) | 413 |
 * | a format of events that is not understood | 415 |
 *
 * Binary, structured and batched mode of version 1.0 are understood, JSON as their format. The events of a batch run in
 * order, each to its end; when one is malformed none runs. A batch of which one failed is answered as that failure, and
 * the sender sends all of it again: let `Idempotency` keep the others from running twice.
 *
 * The address is the event's `type` unless said otherwise. Attributes are headers of the job as they are in binary mode
 * (`ce-id`, `ce-source`, `ce-tenant`, ...), `datacontenttype` is `content-type`, and a channel declares those that it
 * reads. The job's id is `<source>/<id>` (`/` and `%` within the latter percent-encoded), which is what makes an event one
 * and the same.
 *
 * @since 0.1.0
 */
import * as ByteSize from "effect/ByteSize"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import * as HttpIncomingMessage from "effect/http/HttpIncomingMessage"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerRequest from "effect/http/HttpServerRequest"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Layer from "effect/Layer"
import type { Delivery } from "../Backend.ts"
import * as Direct from "../internal/worker/direct.ts"
import type * as Middleware from "../Middleware.ts"
import type { Outcome } from "../Outcome.ts"
import type { InvalidTask } from "../Task.ts"
import type * as TaskGroup from "../TaskGroup.ts"
import * as Worker from "../Worker.ts"
import type { InvalidAddress } from "./internal/address.ts"
import { type CloudEvent, Malformed, read } from "./internal/cloudevent.ts"
import { addressHeader, finder, type Found } from "./internal/message.ts"

export type { CloudEvent } from "./internal/cloudevent.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Options<Ms extends ReadonlyArray<Middleware.ForWorker>>
  extends Pick<Worker.Settings, "id" | "logJobs" | "stuckAfter">
{
  /** around every event, first = outermost: what a worker's own list is */
  readonly middleware?: (Middleware.FitsWorker<Ms> & Ms) | undefined
  /** the address of an event; its `type` unless set */
  readonly address?: ((event: CloudEvent) => string) | undefined
}

/**
 * The handler of the requests, for a route of your own. A body is at most 1 MiB, unless
 * `HttpIncomingMessage.MaxBodySize` says otherwise.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = <Names extends string, const Ms extends ReadonlyArray<Middleware.ForWorker> = readonly []>(
  group: TaskGroup.TaskGroup<Names>,
  options?: Options<Ms>
): Effect.Effect<
  Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest>,
  InvalidTask | Worker.InvalidWorker | InvalidAddress,
  Direct.Needs<Names, Ms>
> =>
  Effect.gen(function*() {
    const { address = ({ type }: CloudEvent) => type, ...settings } = options ?? {}
    const find = yield* Effect.try({ try: () => finder(group), catch: (error) => error as InvalidAddress })
    const direct = yield* Direct.make(
      group,
      settings as Direct.Options<Ms>,
      (message) => new Worker.InvalidWorker({ message })
    )
    const run = (event: CloudEvent) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const to = address(event)
        return Effect.map(direct.deliver(deliveryOf(event, to, find(to), now)), ({ outcome }) => answer(outcome))
      })
    return Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const limit = (yield* HttpIncomingMessage.MaxBodySize) ?? ByteSize.fromInputUnsafe("1 MiB")
      const body = new Uint8Array(
        yield* Effect.provideService(request.arrayBuffer, HttpIncomingMessage.MaxBodySize, limit)
      )
      const events = yield* Effect.try({
        try: () => read(request.headers, body),
        catch: (error) => error instanceof Malformed ? error : new Malformed({ status: 400, message: String(error) })
      })
      let first = done
      for (const event of events) {
        const answered = yield* run(event)
        if (first === done) first = answered
      }
      return first
    }).pipe(
      Effect.catchTags({
        Malformed: ({ message, status }) => Effect.succeed(plain(status, message)),
        HttpServerError: ({ message, reason }) =>
          Effect.succeed(
            reason._tag === "RequestParseError" && reason.reason === "BodyTooLarge"
              ? plain(413, "the body is larger than is taken here")
              : plain(400, `the body cannot be read: ${message}`)
          )
      })
    )
  })

/**
 * The same as a route: takes events by `POST`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <Names extends string, const Ms extends ReadonlyArray<Middleware.ForWorker> = readonly []>(
  path: HttpRouter.PathInput,
  group: TaskGroup.TaskGroup<Names>,
  options?: Options<Ms>
): Layer.Layer<
  never,
  InvalidTask | Worker.InvalidWorker | InvalidAddress,
  HttpRouter.HttpRouter | Direct.Needs<Names, Ms>
> =>
  HttpRouter.use((router) =>
    Effect.flatMap(make(group, options), (handle) => router.add("POST", path, handle))
  ) as never

const deliveryOf = (event: CloudEvent, address: string, found: Found | undefined, now: number): Delivery => {
  const headers: Record<string, string> = { [addressHeader]: address }
  for (const [name, value] of Object.entries(event.attributes)) {
    // distributed tracing: the extension has the name that a job's header has
    const own = name === "traceparent" || name === "tracestate"
    headers[name === "datacontenttype" ? "content-type" : own ? name : `ce-${name}`] = value
  }
  // the last slash is the border: else source "a", id "b/c" would be the same event as source "a/b", id "c"
  const id = `${event.source}/${event.id.replace(/[%/]/g, encodeURIComponent)}`
  return {
    envelope: {
      id,
      task: found?.task._tag ?? address,
      version: found?.task.version ?? 1,
      payload: event.data,
      headers,
      origin: "user"
    },
    receipt: { id, fence: undefined },
    queue: "cloudevents",
    attempt: 1,
    unsettled: 0,
    lostFrom: undefined,
    enqueuedAt: now,
    scheduledFor: undefined,
    firstFailedAt: undefined,
    priority: 0,
    group: undefined,
    abortRequested: false,
    keepsResult: false
  }
}

const plain = (status: number, message: string, headers: Readonly<Record<string, string>> = {}) =>
  HttpServerResponse.text(message, { status, headers })

const done = HttpServerResponse.empty({ status: 204 })

const answer = (outcome: Outcome): HttpServerResponse.HttpServerResponse => {
  switch (outcome._tag) {
    case "Succeeded":
    case "Discarded":
      return done
    case "Retried":
      return plain(500, outcome.error, later(outcome.after))
    case "Snoozed":
      return plain(500, outcome.reason, later(outcome.after))
    case "Released":
      return plain(outcome.why === "unknown" ? 500 : 503, outcome.reason)
    case "Dead":
      return plain(outcome.reason === "undecodable" ? 400 : 500, outcome.error)
    case "Interrupted":
      return plain(503, `cut short: ${outcome.by}`)
    case "Aborted":
      return plain(500, "aborted")
  }
}

/** in whole seconds, as HTTP has it */
const later = (millis: number): Readonly<Record<string, string>> =>
  millis > 0 ? { "retry-after": String(Math.ceil(millis / 1_000)) } : {}
