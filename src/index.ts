/**
 * Windlass: typed middleware for background tasks. One namespace a module.
 *
 * @since 0.1.0
 */
export * as Backend from "./Backend.ts"
export * as Capability from "./Capability.ts"
export * as Cron from "./Cron.ts"
export * as Decide from "./Decide.ts"
export * as Enqueue from "./Enqueue.ts"
export * as Gate from "./Gate.ts"
export * as Graph from "./Graph.ts"
export * as Header from "./Header.ts"
export * as Job from "./Job.ts"
export * as Middleware from "./Middleware.ts"
export * as Outcome from "./Outcome.ts"
export * as Task from "./Task.ts"
export * as TaskGroup from "./TaskGroup.ts"
export * as Worker from "./Worker.ts"
