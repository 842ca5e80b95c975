/**
 * A TCP proxy before an engine's server, which cuts connections at the worst moments. A cut is armed for all connections
 * that are open at the time; those that are made afterwards are left alone.
 */
import * as Effect from "effect/Effect"
import { connect, createServer, type Server, type Socket } from "node:net"

/**
 * - `before`: the next request is not passed on, and the connection is cut
 * - `after`: the next request is passed on, and the connection is cut when its answer comes
 * - `unanswered`: as `after`, but the client is kept waiting
 * - `half`: half of the next request is passed on, and then nothing more
 */
export type Cut = "before" | "after" | "unanswered" | "half"

class Link {
  armed: Cut | undefined
  private asked = false
  private readonly client: Socket
  private server: Socket | undefined
  private readonly proxy: Proxy
  private hole: boolean

  constructor(client: Socket, proxy: Proxy) {
    this.client = client
    this.proxy = proxy
    this.hole = proxy.isHole
    client.on("error", () => {}).on("close", () => this.close())
    client.on("data", (chunk) => this.request(chunk))
    if (this.hole) client.pause()
    else this.dial()
  }

  private dial(): void {
    const { host, port } = this.proxy.target
    this.server = connect({ host, port, noDelay: true })
    this.client.setNoDelay(true)
    this.server.on("error", () => {}).on("close", () => this.close())
    this.server.on("data", (chunk) => this.answer(chunk))
  }

  private request(chunk: Buffer): void {
    switch (this.armed) {
      case "before":
        this.close()
        return this.proxy.hit()
      case "half":
        if (this.asked) return
        this.asked = true
        this.server?.write(chunk.subarray(0, chunk.length >> 1))
        return this.proxy.hit()
      default:
        this.asked = true
        this.server?.write(chunk)
    }
  }

  private answer(chunk: Buffer): void {
    if ((this.armed === "after" || this.armed === "unanswered") && this.asked) {
      if (this.armed === "after") this.close()
      return this.proxy.hit()
    }
    this.client.write(chunk)
  }

  arm(cut: Cut): void {
    this.armed = cut
    this.asked = false
  }

  /** nothing goes through, and nobody is told */
  swallow(): void {
    this.hole = true
    this.client.pause()
    this.server?.pause()
  }

  heal(): void {
    if (!this.hole) return
    this.hole = false
    if (this.server === undefined) this.dial()
    this.client.resume()
    this.server?.resume()
  }

  close(): void {
    this.proxy.links.delete(this)
    this.client.destroy()
    this.server?.destroy()
  }
}

export class Proxy {
  readonly links = new Set<Link>()
  readonly target: { readonly host: string; readonly port: number }
  isHole = false
  private server: Server | undefined
  private hits = 0
  private waiting: Array<() => void> = []

  constructor(target: { readonly host: string; readonly port: number }) {
    this.target = target
  }

  listen(): Promise<number> {
    return new Promise((resolve, reject) => {
      this.server = createServer((client) => void this.links.add(new Link(client, this)))
      this.server.once("error", reject).listen(0, "127.0.0.1", () => {
        const address = this.server!.address()
        resolve(typeof address === "object" && address !== null ? address.port : 0)
      })
    })
  }

  hit(): void {
    this.hits++
    for (const tell of this.waiting.splice(0)) tell()
  }

  /** arms a cut; what it returns waits until it has hit */
  cut(cut: Cut): Effect.Effect<Effect.Effect<void>> {
    return Effect.sync(() => {
      const hits = this.hits
      for (const link of this.links) link.arm(cut)
      return Effect.callback((resume) => {
        if (this.hits > hits) resume(Effect.void)
        else this.waiting.push(() => resume(Effect.void))
      })
    })
  }

  /** all connections end at once */
  get sever(): Effect.Effect<void> {
    return Effect.sync(() => {
      for (const link of Array.from(this.links)) link.close()
    })
  }

  get blackHole(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.isHole = true
      for (const link of this.links) link.swallow()
    })
  }

  get heal(): Effect.Effect<void> {
    return Effect.sync(() => {
      this.isHole = false
      for (const link of this.links) link.heal()
    })
  }

  close(): void {
    this.server?.close()
    for (const link of Array.from(this.links)) link.close()
  }
}

/** before the server of a URL; gone with the scope */
export const before = (url: string) =>
  Effect.gen(function*() {
    const target = new URL(url)
    const proxy = yield* Effect.acquireRelease(
      Effect.sync(() => new Proxy({ host: target.hostname, port: Number(target.port) })),
      (proxy) => Effect.sync(() => proxy.close())
    )
    target.port = String(yield* Effect.promise(() => proxy.listen()))
    target.hostname = "127.0.0.1"
    return { proxy, url: target.href }
  })
