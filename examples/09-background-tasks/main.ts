/**
 * 09: the app of `app.ts` on a real server, with a client that visits it.
 *
 *     node --conditions=windlass-source examples/09-background-tasks/main.ts
 *
 * What takes long lasts until the client has read its reply: if a reply waited for it, this would never end.
 */
import { NodeHttpServer } from "@effect/platform-node"
import { Console, Effect, Latch, Layer } from "effect"
import { FetchHttpClient, HttpClientRequest, HttpRouter, HttpServer } from "effect/http"
import { createServer } from "node:http"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as Capability from "windlass/Capability"
import { app } from "./app.ts"

/** a server that lives for one request; its end waits for the background tasks */
const visit = (method: "GET" | "POST", path: string) =>
  Effect.gen(function*() {
    const read = yield* Latch.make()
    const server = HttpRouter.serve(app(read.await), { disableListenLog: true, disableLogger: true }).pipe(
      Layer.provideMerge(NodeHttpServer.layer(createServer, { port: 0, host: "127.0.0.1" }))
    )
    yield* Effect.gen(function*() {
      const client = yield* HttpServer.makeTestClient
      const response = yield* client.execute(HttpClientRequest.make(method)(path))
      yield* Console.log(`${method} ${path}: ${yield* response.text}`)
      yield* read.open
    }).pipe(Effect.provide(server))
  })

const program = Effect.gen(function*() {
  yield* visit("GET", "/")
  yield* visit("GET", "/goodbye")
  yield* visit("POST", "/signup")
  const { counts } = yield* Capability.Inspect
  yield* Console.log(`jobs stored: ${(yield* counts("default")).ready}`)
})

await Effect.runPromise(program.pipe(
  // in your main: a worker beside it, or in a process of its own, and a backend that outlives the process
  Effect.provide(Layer.merge(MemoryBackend.layer, FetchHttpClient.layer))
))
