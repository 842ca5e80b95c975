/** A CloudEvent as HTTP carries it (HTTP protocol binding 1.0.2): binary, structured or batched, read into one shape. */
import * as Data from "effect/Data"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"

/**
 * A CloudEvent. Attributes as they were sent, all of them strings; the data as JSON text.
 *
 * @category models
 * @since 0.1.0
 */
export interface CloudEvent {
  readonly id: string
  readonly source: string
  readonly type: string
  readonly subject: string | undefined
  /** every attribute by its name, those above and extensions included */
  readonly attributes: Readonly<Record<string, string>>
  /** JSON text: the data itself where it is JSON, else a JSON string of its text, or of the base64 of its bytes */
  readonly data: string
}

/** What is wrong with a request or an event: the sender's to mend. @internal */
export class Malformed
  extends Data.TaggedError("Malformed")<{ readonly status: 400 | 415; readonly message: string }>
{}

const toBase64 = Schema.encodeSync(Schema.Uint8ArrayFromBase64)
const fromBase64 = Schema.decodeUnknownOption(Schema.Uint8ArrayFromBase64)

const bad = (message: string) => new Malformed({ status: 400, message })

const decoder = () => new TextDecoder("utf-8", { fatal: true })

/** The events of one request; throws {@link Malformed}. @internal */
export const read = (
  headers: Readonly<Record<string, string | undefined>>,
  body: Uint8Array
): ReadonlyArray<CloudEvent> => {
  const contentType = headers["content-type"] ?? ""
  const media = contentType.split(";")[0]!.trim().toLowerCase()
  if (media === "application/cloudevents+json") return [structured(json(text(body)), "the event")]
  if (media === "application/cloudevents-batch+json") {
    const batch = json(text(body))
    if (!Array.isArray(batch)) throw bad("a batch of events is a JSON array")
    return batch.map((event, i) => structured(event, `event ${i} of the batch`))
  }
  if (media.startsWith("application/cloudevents")) {
    throw new Malformed({ status: 415, message: `${media} is not understood: send events as JSON, or in binary mode` })
  }
  return [binary(headers, contentType, body)]
}

const text = (body: Uint8Array): string => {
  try {
    return decoder().decode(body)
  } catch {
    throw bad("the body is not UTF-8")
  }
}

const json = (source: string): unknown => {
  try {
    return JSON.parse(source)
  } catch {
    throw bad("the body is not JSON, and its content type says so")
  }
}

const isJson = (contentType: string | undefined): boolean =>
  contentType === undefined || contentType === "" || /^[^;]*[/+]json\s*(?:;|$)/i.test(contentType)

const binary = (
  headers: Readonly<Record<string, string | undefined>>,
  contentType: string,
  body: Uint8Array
): CloudEvent => {
  const attributes: Record<string, string> = {}
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && name.startsWith("ce-")) attributes[name.slice(3)] = unquote(name, value)
  }
  if (contentType !== "") attributes["datacontenttype"] = contentType
  const data = body.length === 0
    ? "null"
    : isJson(contentType)
    ? JSON.stringify(json(text(body)))
    : JSON.stringify(/^text\//i.test(contentType) ? text(body) : toBase64(body))
  return checked(attributes, data, "the event")
}

/** a header value may be quoted, and what is not printable ASCII is percent-encoded */
const unquote = (name: string, value: string): string => {
  const bare = /^"(?:[^"\\]|\\.)*"$/.test(value) ? value.slice(1, -1).replace(/\\(.)/g, "$1") : value
  try {
    return bare.replace(/(?:%[0-9A-Fa-f]{2})+/g, (codes) => decodeURIComponent(codes))
  } catch {
    throw bad(`header ${name} is not percent-encoded UTF-8`)
  }
}

const structured = (event: unknown, which: string): CloudEvent => {
  if (typeof event !== "object" || event === null || Array.isArray(event)) throw bad(`${which} is no JSON object`)
  const { data, data_base64: base64, ...others } = event as Readonly<Record<string, unknown>>
  const attributes: Record<string, string> = {}
  for (const [name, value] of Object.entries(others)) {
    if (value === null) continue
    if (typeof value !== "string" && typeof value !== "boolean" && !Number.isInteger(value)) {
      throw bad(`${which}: attribute ${name} is no string, boolean or integer`)
    }
    attributes[name] = String(value)
  }
  if (base64 === undefined || base64 === null) return checked(attributes, JSON.stringify(data ?? null), which)
  if (data !== undefined) throw bad(`${which} has both data and data_base64`)
  const bytes = fromBase64(base64)
  if (Option.isNone(bytes)) throw bad(`${which}: its data_base64 is not base64`)
  const type = attributes["datacontenttype"]
  return checked(attributes, JSON.stringify(isJson(type) ? json(text(bytes.value)) : base64), which)
}

const checked = (attributes: Readonly<Record<string, string>>, data: string, which: string): CloudEvent => {
  const version = attributes["specversion"]
  if (version === undefined) throw bad(`${which} has no specversion: this is no CloudEvent`)
  if (version !== "1.0") throw bad(`${which} has specversion ${version}, and 1.0 is what is understood`)
  const [id = "", source = "", type = ""] = ["id", "source", "type"].map((name) => attributes[name])
  for (const [name, value] of Object.entries({ id, source, type })) {
    if (value === "") throw bad(`${which} has no ${name}`)
  }
  const strange = Object.keys(attributes).find((name) => !/^[a-z0-9]+$/.test(name))
  if (strange !== undefined) {
    throw bad(`${which}: ${strange} is no name of an attribute (lower case letters and digits)`)
  }
  const time = attributes["time"]
  if (time !== undefined && !(/^\d{4}-\d\d-\d\d[Tt]/.test(time) && !Number.isNaN(Date.parse(time)))) {
    throw bad(`${which}: time ${time} is no RFC 3339 time`)
  }
  return { id, source, type, subject: attributes["subject"], attributes, data }
}
