/**
 * When the last byte of a reply was sent: the one thing that differs between servers.
 *
 * @since 0.1.0
 */
import * as NodeHttpServerRequest from "@effect/platform-node/NodeHttpServerRequest"
import * as Deferred from "effect/Deferred"
import * as Effect from "effect/Effect"
import type { HttpServerRequest } from "effect/http/HttpServerRequest"
import * as Scope from "effect/Scope"
import { IncomingMessage } from "node:http"
import { Http2ServerRequest } from "node:http2"
import type { Socket } from "node:net"

/** What waits for a socket's end. One listener a socket, however many pipelined requests wait on it. */
const waiting = new WeakMap<Socket, Set<() => void>>()

const onSocketClose = (socket: Socket, listener: () => void): () => void => {
  let listeners = waiting.get(socket)
  if (listeners === undefined) {
    const made = new Set<() => void>()
    waiting.set(socket, listeners = made)
    socket.once("close", () => made.forEach((one) => one()))
  }
  const known = listeners
  known.add(listener)
  return () => void known.delete(listener)
}

/**
 * Done once the reply is out of our hands. On Node that is `finish` of the response (the last byte was given to the
 * operating system, which a slow reader delays), or `close` without it (the client is gone). Elsewhere it is the end of
 * the scope that the server opened for the request: after a streamed body was read to its end, else when the reply was
 * handed over.
 */
export const watch = (request: HttpServerRequest, serverScope: Scope.Scope): Effect.Effect<Deferred.Deferred<void>> =>
  Effect.suspend(() => {
    const sent = Deferred.makeUnsafe<void>()
    const done = () => Deferred.doneUnsafe(sent, Effect.void)
    const { source } = request
    if (!(source instanceof IncomingMessage || source instanceof Http2ServerRequest)) {
      return Effect.as(Scope.addFinalizer(serverScope, Effect.sync(done)), sent)
    }
    const response = NodeHttpServerRequest.toServerResponse(request)
    // a response that waits behind another one on its connection has no socket yet, and Node 22 tells it nothing of its end
    const socket = source instanceof IncomingMessage ? source.socket : undefined
    if (response.writableFinished || response.destroyed || socket?.destroyed === true) {
      done()
      return Effect.succeed(sent)
    }
    const forget = socket === undefined ? undefined : onSocketClose(socket, finish)
    function finish() {
      response.off("finish", finish)
      response.off("close", finish)
      forget?.()
      done()
    }
    response.on("finish", finish)
    response.on("close", finish)
    return Effect.succeed(sent)
  })
