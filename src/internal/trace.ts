/** The trace context of a job as W3C `traceparent`, written where it is enqueued and read where it runs. */
import * as Option from "effect/Option"
import * as Tracer from "effect/Tracer"

/** @internal */
export const header = "traceparent"

/** @internal */
export const encode = (span: Tracer.AnySpan): string =>
  `00-${span.traceId.padStart(32, "0")}-${span.spanId.padStart(16, "0")}-${span.sampled ? "01" : "00"}`

const pattern = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/

/** none for a header that is absent or malformed: a broken trace never breaks a job. @internal */
export const decode = (headers: Readonly<Record<string, string>>): Option.Option<Tracer.ExternalSpan> => {
  const match = headers[header] === undefined ? null : pattern.exec(headers[header])
  if (match === null || /^0+$/.test(match[1]!) || /^0+$/.test(match[2]!)) return Option.none()
  return Option.some(
    Tracer.externalSpan({ traceId: match[1]!, spanId: match[2]!, sampled: (Number.parseInt(match[3]!, 16) & 1) === 1 })
  )
}
