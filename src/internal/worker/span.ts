/** A span around every run, child of the producer's; a link instead when the job was delayed on purpose. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"
import * as trace from "../trace.ts"
import type { Around } from "./deliver.ts"

/** A program that installed no tracer pays nothing. @internal */
export const around = (context: Context.Context<never>): Around | undefined =>
  Context.get(context, Tracer.Tracer) === Tracer.nativeTracer ? undefined : (job, chain) => {
    const producer = trace.decode(job.headers)
    const attributes = {
      "messaging.system": "windlass",
      "messaging.operation.type": "process",
      "messaging.destination.name": job.queue,
      "messaging.message.id": job.id,
      "windlass.task": job.task,
      "windlass.attempt": job.attempt
    }
    const place = Option.isNone(producer)
      ? { root: true }
      : job.scheduledFor !== undefined
      ? { root: true, links: [{ span: producer.value, attributes: { "windlass.link": "enqueued by" } }] }
      : { parent: producer.value }
    return Effect.withSpan(chain, job.task, { kind: "consumer", attributes, captureStackTrace: false, ...place })
  }
