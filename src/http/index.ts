/**
 * Background tasks on replies, a health endpoint, and a client to test them with, on `effect/http`.
 *
 * @since 0.1.0
 */
export * as BackgroundTasks from "./BackgroundTasks.ts"
export * as Health from "./Health.ts"
export * as TestClient from "./TestClient.ts"
