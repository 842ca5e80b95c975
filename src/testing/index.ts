/**
 * What tests of task programs are written with: a worker under test, a harness for a middleware alone, the suite that
 * every backend passes, and a backend that fails as it is told to.
 *
 * @since 0.1.0
 */
export * as Conformance from "./Conformance.ts"
export * as Faults from "./Faults.ts"
export * as Harness from "./Harness.ts"
export * as TestProducer from "./TestProducer.ts"
export * as TestWorker from "./TestWorker.ts"
