/** What the compiler reads off a list of middleware: who provides what to whom, in which order, and how it may fail. */
import type * as Context from "effect/Context"
import type * as Schema from "effect/Schema"
import type * as Scope from "effect/Scope"
import type * as Job from "../../Job.ts"
import type { AnyService, Facts, ForEnqueue, TypeId } from "./declared.ts"
import type { Delivery, Observer } from "./delivery.ts"
import type { Inline } from "./written.ts"

/**
 * What may stand in the list of a task or a group: declared middleware, or one written in place that provides nothing
 * and adds no error.
 *
 * @category models
 * @since 0.1.0
 */
export type Any = AnyService | Inline<any>

type Identifier<K> = K extends Context.Key<infer I, any> ? I : never

/**
 * @category type facts
 * @since 0.1.0
 */
export type Provides<M> = M extends AnyService
  ? Identifier<M> extends { readonly [TypeId]: Facts<infer P, any, any, any> } ? P : never
  : never

/**
 * @category type facts
 * @since 0.1.0
 */
export type Requires<M> = M extends AnyService
  ? Identifier<M> extends { readonly [TypeId]: Facts<any, infer R, any, any> } ? R : never
  : M extends Inline<infer R> ? R
  : never

/**
 * @category type facts
 * @since 0.1.0
 */
export type Error<M> = M extends { readonly [TypeId]: typeof TypeId; readonly error: infer E extends Schema.Top } ?
  E["Type"]
  : never

/**
 * The service that supplies the implementation: what `toLayer` requires for this middleware.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Implementation<M> = M extends AnyService ? Identifier<M> : never

/**
 * What a producer must provide for the enqueue half of this middleware ({@link layerEnqueue}).
 *
 * @category type facts
 * @since 0.1.0
 */
export type EnqueueHalf<M> = M extends { readonly enqueue: true } & Context.Key<infer I, any> ? ForEnqueue<I> : never

/**
 * What is left to provide for an effect that needs `R` and stands inside the list `Ms`. Folds from the innermost, so an
 * outer middleware provides what an inner one requires, never the other way round.
 *
 * @category type facts
 * @since 0.1.0
 */
export type Apply<Ms extends ReadonlyArray<unknown>, R> = Ms extends readonly [...infer Outer, infer Last]
  ? Apply<Outer, Exclude<R, Provides<Last>> | Requires<Last>>
  : R

/**
 * The list itself, or a sentence where a middleware requires what only one further in provides.
 *
 * @category type facts
 * @since 0.1.0
 */
export type InOrder<Ms extends ReadonlyArray<unknown>> = Ms extends readonly [infer Head, ...infer Inner]
  ? [Extract<Requires<Head>, Provides<Inner[number]>>] extends [never] ? readonly [Head, ...InOrder<Inner>]
  : readonly [
    "this middleware requires a service that one further in provides: the list reads from the outside in, so put the provider before it",
    ...InOrder<Inner>
  ]
  : Ms

/**
 * What may stand in a worker's list. Nothing there may provide a service or add an error ({@link FitsWorker}).
 *
 * @category models
 * @since 0.1.0
 */
export type ForWorker = AnyService | Inline<any> | Delivery<any> | Observer<any>

/**
 * A worker's list itself, or a sentence where a middleware provides a service or adds an error: neither the producer nor
 * the task's types would know of it.
 *
 * @category type facts
 * @since 0.1.0
 */
export type FitsWorker<Ms extends ReadonlyArray<unknown>> = number extends Ms["length"] ? Ms
  : {
    readonly [K in keyof Ms]: [Provides<Ms[K]>] extends [never] ? [Error<Ms[K]>] extends [never] ? Ms[K]
      : "this middleware adds an error that the types of the tasks do not know: name it in the list of a task or a group, not of the worker"
      : "this middleware provides a service that the types of the tasks do not know: name it in the list of a task or a group, not of the worker"
  }

/**
 * What a worker's list needs from `main`. Wraps have a scope of their own and the running job; observers stand outside of
 * both, so one that needs them does not get them from anywhere.
 *
 * @category type facts
 * @since 0.1.0
 */
export type RequiresOfWorker<M> = M extends AnyService ? Implementation<M> | OutsideOfJob<Requires<M>>
  : M extends Inline<infer R> ? OutsideOfJob<R>
  : M extends Delivery<infer R> ? OutsideOfJob<R>
  : M extends Observer<infer R> ? R
  : never

type OutsideOfJob<R> = Exclude<R, Scope.Scope | Job.Current>
