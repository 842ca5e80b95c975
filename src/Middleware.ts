/**
 * Middleware: a function around a function.
 *
 * A list reads from the outside in: the first is the outermost. Around a job stand, from the outside: the worker's list,
 * the group's, the task's, the task's own wraps, the handler. Every attempt enters the whole chain again.
 *
 * - {@link Service} declares a middleware whose facts the types of a task must know (what it provides, requires, and may
 *   fail with); its implementation is a `Layer`.
 * - {@link make} and {@link hooks} write an implementation: for a declared middleware, or in place for one that provides
 *   nothing and adds no error.
 * - {@link observe} watches and cannot change anything.
 * - {@link delivery} stands around everything that happens to one hand-out of a job, decoding and settlement included.
 *
 * @since 0.1.0
 */
export {
  type AnyService,
  type Facts,
  type ForEnqueue,
  isService,
  layerEnqueue,
  Service,
  type ServiceClass,
  TypeId
} from "./internal/middleware/declared.ts"
export {
  type Delivery,
  delivery,
  DeliveryTypeId,
  type DeliveryWrap,
  isDelivery,
  isObserver,
  observe,
  type Observed,
  type Observer,
  ObserverTypeId
} from "./internal/middleware/delivery.ts"
export type {
  Any,
  Apply,
  EnqueueHalf,
  Error,
  FitsWorker,
  ForWorker,
  Implementation,
  InOrder,
  Provides,
  Requires,
  RequiresOfWorker
} from "./internal/middleware/facts.ts"
export { type At, NextMisused, type Wrap } from "./internal/middleware/wrap.ts"
export { hooks, type Inline, InlineTypeId, isInline, make, type OpaqueExit } from "./internal/middleware/written.ts"
