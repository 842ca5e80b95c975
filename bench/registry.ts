/** Who takes part. A cell loads the module of its contender and no other. */
import type { Contender, Engine } from "./contender.ts"

type Module = { readonly contenders: ReadonlyArray<Contender> }

/** what is known without loading anything: the module of every contender, by engine and name */
export const entrants: ReadonlyArray<{ readonly engine: Engine; readonly name: string; readonly module: string }> = [
  ...(["memory", "sqlite", "postgres", "redis"] as const).flatMap((engine) => [
    { engine, name: "windlass, three middlewares", module: "windlass.ts" },
    { engine, name: "windlass, bare", module: "windlass.ts" }
  ]),
  { engine: "memory", name: "Effect PersistedQueue", module: "effect.ts" },
  { engine: "sqlite", name: "raw statements", module: "raw/sqlite.ts" },
  { engine: "postgres", name: "raw statements", module: "raw/postgres.ts" },
  { engine: "postgres", name: "graphile-worker, batched", module: "peers/graphile.ts" },
  { engine: "postgres", name: "graphile-worker", module: "peers/graphile.ts" },
  { engine: "postgres", name: "pg-boss, batch handler", module: "peers/pgboss.ts" },
  { engine: "postgres", name: "BullMQ", module: "peers/bullmq.ts" },
  { engine: "postgres", name: "Effect PersistedQueue", module: "effect.ts" },
  { engine: "redis", name: "raw script", module: "raw/redis.ts" },
  { engine: "redis", name: "BullMQ", module: "peers/bullmq.ts" },
  { engine: "redis", name: "bee-queue", module: "peers/bee.ts" },
  { engine: "redis", name: "Effect PersistedQueue", module: "effect.ts" }
]

export const load = async (engine: string, name: string): Promise<Contender> => {
  const entrant = entrants.find((one) => one.engine === engine && one.name === name)
  if (entrant === undefined) throw new Error(`no contender ${name} on ${engine}`)
  // by an address that the compiler does not follow: peers are installed by those who run the bench
  const { contenders } = await import(new URL(entrant.module, import.meta.url).href) as Module
  return contenders.find((one) => one.engine === engine && one.name === name)!
}
