/**
 * A tracer in one screen: adds up where the time went, and writes every span as a line of JSON when it is asked to.
 * The worker opens a span for every run, as a child of the span in which the job was enqueued; so the trace of a run has
 * the shape of the tree, also over a crash, because the producer's trace is stored with the job.
 */
import { Context, Effect, Layer, Option, Tracer } from "effect"
import * as Fs from "node:fs"

export interface Spent {
  readonly name: string
  count: number
  millis: number
}

/** By name of the span. */
export class Profile
  extends Context.Service<Profile, { readonly spent: () => ReadonlyArray<Spent> }>()("tree/Profile")
{}

class Span extends Tracer.NativeSpan {
  private readonly ended: (span: Span, millis: number) => void

  constructor(
    options: ConstructorParameters<typeof Tracer.NativeSpan>[0],
    ended: (span: Span, millis: number) => void
  ) {
    super(options)
    this.ended = ended
  }

  override end(...args: Parameters<Tracer.NativeSpan["end"]>): void {
    super.end(...args)
    this.ended(this, Number(args[0] - this.startTime) / 1e6)
  }
}

const line = (span: Span, millis: number): string =>
  JSON.stringify({
    trace: span.traceId,
    span: span.spanId,
    parent: Option.getOrUndefined(span.parent)?.spanId,
    name: span.name,
    start: Number(span.startTime / 1_000_000n),
    millis,
    ok: span.status._tag === "Ended" && span.status.exit._tag === "Success",
    ...Object.fromEntries(span.attributes)
  })

/** a write for so many spans */
const flushed = 500

export const layer = (file: string | undefined): Layer.Layer<Profile> =>
  Layer.effectContext(Effect.gen(function*() {
    const spent = new Map<string, Spent>()
    let lines: Array<string> = []
    const flush = () => {
      if (file !== undefined && lines.length > 0) Fs.appendFileSync(file, lines.join("\n") + "\n")
      lines = []
    }
    yield* Effect.addFinalizer(() => Effect.sync(flush))
    const ended = (span: Span, millis: number) => {
      const entry = spent.get(span.name) ?? { name: span.name, count: 0, millis: 0 }
      entry.count++
      entry.millis += millis
      spent.set(span.name, entry)
      if (file === undefined) return
      lines.push(line(span, millis))
      if (lines.length >= flushed) flush()
    }
    return Context.make(Profile, { spent: () => [...spent.values()].toSorted((a, b) => b.millis - a.millis) }).pipe(
      Context.add(Tracer.Tracer, Tracer.make({ span: (options) => new Span(options, ended) }))
    )
  })) as Layer.Layer<Profile>
