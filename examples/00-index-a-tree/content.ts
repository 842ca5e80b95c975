/** Reading a file once, for everything that the index wants to know of it. */
import * as NodeStream from "@effect/platform-node/NodeStream"
import { Effect, type FileSystem, Option, type PlatformError, Stream } from "effect"
import * as Crypto from "node:crypto"
import * as Zlib from "node:zlib"
import { TooLarge } from "./tasks.ts"

/** files above this are not indexed, in bytes */
export const limit = 8 * 1024 * 1024

/** read at once, in bytes; what is longer comes as a stream of such pieces */
const piece = 256 * 1024

export interface Content {
  readonly bytes: number
  /** a last line without a line break counts */
  readonly lines: number
  /** bytes after gzip at its default level */
  readonly gzip: number
  /** in hex */
  readonly sha256: string
  /** valid UTF-8 without NUL */
  readonly isText: boolean
}

/** Everything but the compressed size, from pieces in order. */
class Meter {
  private readonly hash = Crypto.createHash("sha256")
  private readonly utf8 = new TextDecoder("utf-8", { fatal: true })
  private isText = true
  private last = 0x0a
  private lines = 0
  bytes = 0

  add(bytes: Uint8Array): void {
    this.hash.update(bytes)
    this.bytes += bytes.length
    for (let at = bytes.indexOf(0x0a); at !== -1; at = bytes.indexOf(0x0a, at + 1)) this.lines++
    if (bytes.length > 0) this.last = bytes[bytes.length - 1]!
    if (this.isText) this.isText = !bytes.includes(0) && this.decodes(bytes, true)
  }

  end(gzip: number): Content {
    return {
      bytes: this.bytes,
      lines: this.lines + (this.last === 0x0a ? 0 : 1),
      gzip,
      sha256: this.hash.digest("hex"),
      isText: this.isText && this.decodes(new Uint8Array(), false)
    }
  }

  /** a character may be cut in two between pieces, hence a decoder with a memory */
  private decodes(bytes: Uint8Array, stream: boolean): boolean {
    try {
      this.utf8.decode(bytes, { stream })
      return true
    } catch {
      return false
    }
  }
}

/** off the event loop, on a thread of Node's pool */
const gzipped = (bytes: Uint8Array): Effect.Effect<number> =>
  Effect.callback<number>((resume) => {
    Zlib.gzip(bytes, (error, compressed) =>
      resume(error === null ? Effect.succeed(compressed.length) : Effect.die(error)))
  })

/**
 * Reads from where the handle stands to the end. Small files are read and compressed in one piece; larger ones stream,
 * so that no file needs more memory than a few pieces.
 */
export const read = Effect.fnUntraced(function*(
  file: FileSystem.File,
  facts: { readonly path: string; readonly bytes: number }
): Effect.fn.Return<Content, PlatformError.PlatformError | TooLarge> {
  const meter = new Meter()
  // one byte more than there should be: a shorter answer is the whole file, without a second call to find its end
  const wanted = Math.min(facts.bytes, piece) + 1
  const first = Option.getOrElse(yield* Effect.withSpan(file.readAlloc(wanted), "read"), () => new Uint8Array())
  meter.add(first)
  if (first.length < wanted) {
    return meter.end(yield* Effect.withSpan(gzipped(first), "gzip"))
  }
  const rest = Stream.unfold(
    undefined,
    () =>
      Effect.map(file.readAlloc(piece), (next) => Option.isNone(next) ? undefined : [next.value, undefined] as const)
  ).pipe(Stream.tap((bytes) => {
    meter.add(bytes)
    // it grew since somebody looked at its size
    return meter.bytes > limit
      ? Effect.fail(new TooLarge({ path: facts.path, bytes: meter.bytes, limit }))
      : Effect.void
  }))
  const size = yield* Stream.concat(Stream.succeed(first), rest).pipe(
    NodeStream.pipeThroughDuplex({ evaluate: () => Zlib.createGzip() }),
    Stream.runFold(() => 0, (sum, compressed: Uint8Array) => sum + compressed.length),
    Effect.catchTag("UnknownError", Effect.die),
    Effect.withSpan("read and gzip")
  )
  return meter.end(size)
})
