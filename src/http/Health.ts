/**
 * A worker's health over HTTP, for probes: `live` and `ready` of {@link Worker.Health} as status codes, with the whole as
 * JSON.
 *
 * ```ts
 * HttpRouter.serve(Health.layer()).pipe(Layer.provide(WorkerLive))
 * ```
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as HttpRouter from "effect/http/HttpRouter"
import * as HttpServerResponse from "effect/http/HttpServerResponse"
import type * as Layer from "effect/Layer"
import * as Worker from "../Worker.ts"

/**
 * @category models
 * @since 0.1.0
 */
export interface Paths {
  /** 200 as long as the worker gets on; a process that answers 503 should be restarted. `/health/live` unless set */
  readonly live?: HttpRouter.PathInput | undefined
  /** 200 while the worker takes jobs; 503 while it stops or its backend does not answer. `/health/ready` unless set */
  readonly ready?: HttpRouter.PathInput | undefined
}

/**
 * Two routes for the worker that is in the layer's context. The answers are computed per request and must not be cached;
 * `ready` asks the backend.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (paths: Paths = {}): Layer.Layer<never, never, HttpRouter.HttpRouter | Worker.Worker> =>
  HttpRouter.use((router) =>
    Effect.flatMap(Worker.Worker, ({ health }) => {
      const route = (path: HttpRouter.PathInput, isWell: (health: Worker.Health) => boolean) =>
        router.add(
          "GET",
          path,
          Effect.map(health, (found) =>
            HttpServerResponse.jsonUnsafe(found, {
              status: isWell(found) ? 200 : 503,
              headers: { "cache-control": "no-store" }
            }))
        )
      return Effect.andThen(
        route(paths.live ?? "/health/live", ({ live }) => live),
        route(paths.ready ?? "/health/ready", ({ ready }) => ready)
      )
    })
  )
