/**
 * 06: the same program on four backends. The line that says which is marked; nothing else changes, and it prints the same.
 *
 *     node --conditions=windlass-source examples/06-one-line/main.ts            # memory
 *     node --conditions=windlass-source examples/06-one-line/main.ts sqlite
 *     node --conditions=windlass-source examples/06-one-line/main.ts postgres   # WINDLASS_POSTGRES_URL, or 127.0.0.1:5432
 *     node --conditions=windlass-source examples/06-one-line/main.ts redis      # WINDLASS_REDIS_URL, or 127.0.0.1:6379
 */
import { Effect, Layer, References } from "effect"
import type * as MemoryBackend from "windlass/backends/MemoryBackend"
import { inRedis, memory, postgresql, sqlite } from "./backends.ts"
import { program, worker } from "./program.ts"

const backends: Readonly<Record<string, Layer.Layer<MemoryBackend.Services, unknown>>> = {
  memory,
  sqlite,
  postgres: postgresql,
  redis: inRedis
}
const chosen = backends[process.argv[2] ?? "memory"]
if (chosen === undefined) throw new Error(`choose one of ${Object.keys(backends).join(", ")}`)

const Live = worker.pipe(
  Layer.provideMerge(chosen) // <- the line: memory, sqlite, postgresql or inRedis
)

await Effect.runPromise(program.pipe(
  Effect.provide(Live),
  Effect.provideService(References.MinimumLogLevel, "Fatal")
))
