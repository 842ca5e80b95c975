/** Where a run took place: the machine, the servers that answer, and how these are set. */
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Effect, Redacted } from "effect"
import { connect } from "node:net"
import { availableParallelism, cpus, release, totalmem, type } from "node:os"
import { DatabaseSync } from "node:sqlite"
import { createClient } from "redis"
import type { Engine } from "./contender.ts"

export interface Servers {
  readonly postgres: string
  readonly redis: URL
}

export const serversOf = (env: NodeJS.ProcessEnv): Servers => ({
  postgres: env["WINDLASS_POSTGRES_URL"] ?? "postgres://postgres@127.0.0.1:5432/postgres",
  redis: new URL(env["WINDLASS_REDIS_URL"] ?? "redis://127.0.0.1:6379")
})

const isOpen = ({ hostname, port }: URL, usual: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect({ host: hostname, port: Number(port || usual) }, () => {
      socket.destroy()
      resolve(true)
    }).once("error", () => resolve(false))
  })

export const up = async ({ postgres, redis }: Servers): Promise<Readonly<Record<Engine, boolean>>> => ({
  memory: true,
  sqlite: true,
  postgres: await isOpen(new URL(postgres), 5432),
  redis: await isOpen(redis, 6379)
})

const postgresSays = (url: string): Promise<string> =>
  Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const connection = yield* PgConnection.make({ url: Redacted.make(url) })
    const names = ["server_version", "fsync", "synchronous_commit", "shared_buffers", "wal_sync_method"]
    const rows = yield* connection.queryValues(`SELECT ${names.map((name) => `current_setting('${name}')`).join()}`, [])
    const [version, ...values] = rows[0]!.map(String)
    return [version, ...values.map((value, n) => `${names[n + 1]} ${value}`)].join(", ")
  })))

const redisSays = async (url: URL): Promise<string> => {
  const client = await createClient({ url: url.href }).connect()
  const info = await client.info("server")
  const { appendonly, save } = { ...await client.configGet("appendonly"), ...await client.configGet("save") }
  client.destroy()
  const version = /redis_version:(\S+)/.exec(info)?.[1]
  return `${version}, appendonly ${appendonly}, save ${save === "" ? "never" : save}`
}

export const machine = async (
  servers: Servers,
  isUp: Readonly<Record<Engine, boolean>>
): Promise<Readonly<Record<string, string>>> => ({
  processors: `${availableParallelism()} x ${cpus()[0]?.model.trim()}, shared by the servers and the workers`,
  memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
  system: `${type()} ${release()}`,
  Node: process.version,
  SQLite: `${
    new DatabaseSync(":memory:").prepare("SELECT sqlite_version() AS version").get()!["version"]
  }, a file, WAL, synchronous NORMAL`,
  ...(isUp.postgres ? { Postgres: await postgresSays(servers.postgres) } : {}),
  ...(isUp.redis ? { Redis: await redisSays(servers.redis) } : {})
})
