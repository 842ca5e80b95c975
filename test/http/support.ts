/** Apps on real servers, and clients that speak HTTP byte by byte. */
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import * as Reporter from "effect/ErrorReporter"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServer from "effect/http/HttpServer"
import * as Layer from "effect/Layer"
import * as Logger from "effect/Logger"
import { createServer } from "node:http"
import { connect, type Socket } from "node:net"

/** what happened, in order */
export const journal = () => {
  const lines: Array<string> = []
  return {
    lines,
    note: (line: string) => Effect.sync(() => void lines.push(line))
  }
}

/** what was logged, as text, and what reporters were told */
export const hearing = () => {
  const logs: Array<string> = []
  const reports: Array<Error> = []
  return {
    logs,
    reports,
    layer: Layer.mergeAll(
      Logger.layer([Logger.make(({ logLevel, message }) => void logs.push(`${logLevel}: ${String(message)}`))]),
      Reporter.layer([Reporter.make(({ error }) => void reports.push(error))])
    )
  }
}

/** a logger and a reporter that die */
export const broken = Layer.mergeAll(
  Logger.layer([Logger.make(() => {
    throw new Error("the logger died")
  })]),
  Reporter.layer([{
    "~effect/ErrorReporter": "~effect/ErrorReporter",
    report: () => {
      throw new Error("the reporter died")
    }
  }])
)

/** an app on a port of its own */
export const served = <A, E, R>(app: Layer.Layer<A, E, R>) =>
  HttpRouter.serve(app, { disableListenLog: true, disableLogger: true }).pipe(
    Layer.provideMerge(NodeHttpServer.layerServer(createServer, { port: 0, host: "127.0.0.1" }))
  )

export const port: Effect.Effect<number, never, HttpServer.HttpServer> = Effect.map(
  HttpServer.HttpServer,
  ({ address }) => address._tag === "UnixPathAddress" ? 0 : address.port
)

export interface Raw {
  readonly socket: Socket
  readonly send: (text: string) => Effect.Effect<void>
  /** everything that has come until the text has come `times` times */
  readonly until: (text: string, times?: number) => Effect.Effect<string>
  readonly closed: Effect.Effect<void>
}

/** a connection of one's own, destroyed with the scope */
export const raw = Effect.gen(function*() {
  const at = yield* port
  const closed = yield* Deferred.make<void>()
  const socket = yield* Effect.acquireRelease(
    Effect.callback<Socket>((resume) => {
      const socket = connect({ port: at, host: "127.0.0.1" })
      socket.once("connect", () => resume(Effect.succeed(socket)))
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )
  let received = ""
  const waiting = new Set<() => void>()
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1")
    waiting.forEach((one) => one())
  })
  socket.on("error", () => {})
  socket.once("close", () => Deferred.doneUnsafe(closed, Effect.void))
  const until = (text: string, times = 1) =>
    Effect.callback<string>((resume) => {
      const look = () => {
        if (received.split(text).length <= times) return
        waiting.delete(look)
        resume(Effect.succeed(received))
      }
      waiting.add(look)
      look()
      return Effect.sync(() => waiting.delete(look))
    })
  const send = (text: string) => Effect.sync(() => void socket.write(text))
  return { socket, send, until, closed: Deferred.await(closed) } satisfies Raw
})

export const get = (path: string, ...headers: ReadonlyArray<string>): string =>
  [`GET ${path} HTTP/1.1`, "host: test", ...headers, "", ""].join("\r\n")
