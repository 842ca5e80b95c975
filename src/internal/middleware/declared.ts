/** Declared middleware: the identifier of a service class carries the facts that the types of a task must know. */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type { Decide } from "../../Decide.ts"
import type * as Enqueue from "../../Enqueue.ts"
import { capture } from "../capture.ts"
import type { Wrap } from "./wrap.ts"

/**
 * @category type ids
 * @since 0.1.0
 */
export const TypeId = "~windlass/Middleware"

/**
 * What the identifier of a declared middleware says about it.
 *
 * @category models
 * @since 0.1.0
 */
export interface Facts<P, R, E extends Schema.Top, Q extends boolean> {
  readonly provides: P
  readonly requires: R
  readonly error: E
  readonly enqueue: Q
}

/**
 * The class that {@link Service} makes.
 *
 * @category models
 * @since 0.1.0
 */
export interface ServiceClass<Self, Id extends string, P, R, E extends Schema.Top, Q extends boolean>
  extends Context.Service<Self, Wrap<P, E["Type"] | Decide, R>>
{
  new(_: never): Context.ServiceClass.Shape<Id, Wrap<P, E["Type"] | Decide, R>> & {
    readonly [TypeId]: Facts<P, R, E, Q>
  }
  readonly [TypeId]: typeof TypeId
  readonly error: E
  readonly enqueue: Q
}

/**
 * @category models
 * @since 0.1.0
 */
export interface AnyService extends Context.Key<any, any> {
  readonly [TypeId]: typeof TypeId
  readonly error: Schema.Top
  readonly enqueue: boolean
}

/**
 * Declares a middleware: what it provides to everything inside it, what it requires of what stands outside, the errors
 * that it may fail with. The declaration is shared by producer and worker; the implementation is a layer of the worker.
 *
 * With `enqueue: true` it has a half that runs in the producer (writing a header that the other half reads): tasks that
 * use it are enqueued only where `Middleware.layerEnqueue` provides that half.
 *
 * @category constructors
 * @since 0.1.0
 */
export const Service = <
  Self,
  Config extends { readonly provides?: any; readonly requires?: any } = Record<never, never>
>() =>
<const Id extends string, E extends Schema.Top = Schema.Never, const Q extends boolean = false>(
  id: Id,
  options?: {
    readonly error?: E | undefined
    readonly enqueue?: Q | undefined
  }
): ServiceClass<
  Self,
  Id,
  "provides" extends keyof Config ? Config["provides"] : never,
  "requires" extends keyof Config ? Config["requires"] : never,
  E,
  Q
> => {
  const service = Context.Service<Self, never>()(id) as unknown as Record<string, unknown>
  service[TypeId] = TypeId
  service["error"] = options?.error ?? Schema.Never
  service["enqueue"] = options?.enqueue ?? false
  return service as never
}

/**
 * @category guards
 * @since 0.1.0
 */
export const isService = (u: unknown): u is AnyService =>
  typeof u === "function" && (u as unknown as Record<string, unknown>)[TypeId] === TypeId

/**
 * The producer's half of the declared middleware `Id`.
 *
 * @category services
 * @since 0.1.0
 */
export interface ForEnqueue<out Id> {
  readonly "~windlass/Middleware/ForEnqueue": Id
}

/** @internal */
export const enqueueKey = (service: AnyService): Context.Key<unknown, Enqueue.Wrap> =>
  Context.Service<unknown, Enqueue.Wrap>(`${service.key}/enqueue`)

/**
 * The producer's half of a middleware that was declared with `enqueue: true`. Runs for every new job of the tasks that
 * use it, before the job is stored; never for a retry.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerEnqueue = <Id, S, R = never>(
  service: Context.Key<Id, S> & AnyService & { readonly enqueue: true },
  wrap: Enqueue.Wrap<R>
): Layer.Layer<ForEnqueue<Id>, never, Exclude<R, Scope.Scope>> =>
  Layer.effectContext(Effect.contextWith((context: Context.Context<R>) =>
    Effect.succeed(
      Context.make(enqueueKey(service), (next: Parameters<Enqueue.Wrap>[0], batch: Enqueue.Batch) =>
        capture(context)(wrap(next, batch)))
    )
  )) as never
