/**
 * A TCP proxy in front of the server, which can lose what goes through it.
 */
import * as Effect from "effect/Effect"
import { connect, createServer, type Server, type Socket } from "node:net"

export interface Proxy {
  readonly port: number
  /** replies are thrown away from now on, requests still reach the server */
  readonly loseReplies: () => void
  /** both ways again, for connections that are made from now on */
  readonly restore: () => void
  /** resolves when the server has answered so many times more, whether the reply was passed on or not */
  readonly answers: (count: number) => Effect.Effect<void>
  /** breaks all connections */
  readonly cut: () => void
}

export const proxy = (url: string) =>
  Effect.acquireRelease(
    Effect.callback<{ readonly server: Server; readonly proxy: Proxy }>((resume) => {
      const target = new URL(url)
      const pairs = new Set<readonly [Socket, Socket]>()
      const waiting = new Set<{ left: number; readonly done: () => void }>()
      let losing = false
      const server = createServer((client) => {
        const upstream = connect(Number(target.port || 5432), target.hostname)
        const pair = [client, upstream] as const
        pairs.add(pair)
        const end = () => {
          pairs.delete(pair)
          client.destroy()
          upstream.destroy()
        }
        client.on("data", (chunk) => upstream.write(chunk)).on("error", end).on("close", end)
        upstream.on("data", (chunk) => {
          if (!losing) client.write(chunk)
          for (const one of waiting) {
            if (--one.left === 0) {
              waiting.delete(one)
              one.done()
            }
          }
        }).on("error", end).on("close", end)
      })
      server.listen(0, "127.0.0.1", () => {
        const address = server.address()
        resume(Effect.succeed({
          server,
          proxy: {
            port: typeof address === "object" && address !== null ? address.port : 0,
            loseReplies: () => {
              losing = true
            },
            restore: () => {
              losing = false
            },
            answers: (count) =>
              Effect.callback<void>((resume) => {
                const one = { left: count, done: () => resume(Effect.void) }
                waiting.add(one)
                return Effect.sync(() => void waiting.delete(one))
              }),
            cut: () => {
              for (const [client, upstream] of Array.from(pairs)) {
                client.destroy()
                upstream.destroy()
              }
            }
          }
        }))
      })
    }),
    ({ proxy, server }) =>
      Effect.sync(() => {
        server.close()
        proxy.cut()
      })
  ).pipe(Effect.map(({ proxy }) => proxy))
