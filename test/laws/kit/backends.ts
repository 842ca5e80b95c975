/** The two backends that every law is held on, each a fresh one on the test's own clock. */
import { Effect, Layer } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { Backend, BackendError } from "windlass/Backend"
import * as MemoryBackend from "windlass/backends/MemoryBackend"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import type * as Capability from "windlass/Capability"

export type Layers = Layer.Layer<Backend | Capability.AllButTransactional, BackendError>

// ended jobs stay, so that what became of them can be looked up; or not, as an engine may settle those another way
const retention = (kept: boolean) => kept ? { successes: "1 day" } as const : undefined

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "windlass-laws-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

/** `lease`: milliseconds */
export const memory = (lease = 10 * 86_400_000, kept = true): Layers =>
  MemoryBackend.layerWith({ lease, retention: retention(kept) })

export const sqlite = (lease = 10 * 86_400_000, kept = true): Layers =>
  Layer.unwrap(
    Effect.map(directory, (path) =>
      SqliteBackend.layer({ filename: join(path, "queue.db"), lease, retention: retention(kept) }))
  )

export const backends = { memory, sqlite } as const
