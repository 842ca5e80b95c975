/**
 * Finds the servers that tests need: by environment variable, else at the default port, else by starting an installed
 * binary on a free port with its data in a temporary folder. What cannot be had is named at the end of the run, and is a
 * failure when `CI` is set.
 */
import { execFileSync, spawn } from "node:child_process"
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir, userInfo } from "node:os"
import { join } from "node:path"

export interface Service {
  /** how to connect to it */
  readonly url: string
  /** how it was found, for people */
  readonly found: string
}

/** why there is none, and what to do about it */
export class Missing extends Error {}

const isOpen = (host: string, port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const socket = connect({ host, port, timeout: 1_000 })
    const done = (open: boolean) => {
      socket.destroy()
      resolve(open)
    }
    socket.once("connect", () => done(true)).once("error", () => done(false)).once("timeout", () => done(false))
  })

export const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer()
    server.once("error", reject).listen(0, "127.0.0.1", () => {
      const address = server.address()
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

const until = async (what: string, isSo: () => Promise<boolean>): Promise<void> => {
  const deadline = Date.now() + 30_000
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Missing(`${what} did not start within 30 seconds`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** newest first */
export const postgresBinaries = (): ReadonlyArray<string> => {
  const root = "/usr/lib/postgresql"
  const versions = existsSync(root) ? readdirSync(root).sort((a, b) => Number(b) - Number(a)) : []
  const folders = [
    ...versions.map((version) => join(root, version, "bin")),
    "/opt/homebrew/opt/postgresql/bin",
    "/usr/local/opt/postgresql/bin",
    "/usr/local/pgsql/bin"
  ]
  return folders.filter((folder) => existsSync(join(folder, "initdb")))
}

/** a server of one's own, that ends with the process */
export const startPostgres = async (): Promise<Service & { readonly stop: () => void }> => {
  const [bin] = postgresBinaries()
  if (bin === undefined) {
    throw new Missing(
      "no PostgreSQL: set WINDLASS_POSTGRES_URL, start one at 127.0.0.1:5432, or install its server package"
    )
  }
  const folder = mkdtempSync(join(tmpdir(), "windlass-postgres-"))
  const data = join(folder, "data")
  const port = await freePort()
  // initdb and the server refuse to run as root
  const isRoot = userInfo().uid === 0
  if (isRoot) {
    chmodSync(folder, 0o711)
    execFileSync("chown", ["postgres", folder])
  }
  const as = (command: string, args: ReadonlyArray<string>): readonly [string, Array<string>] =>
    isRoot ? ["runuser", ["-u", "postgres", "--", command, ...args]] : [command, [...args]]
  const [initdb, initdbArgs] = as(join(bin, "initdb"), [
    "-D",
    data,
    "-U",
    "postgres",
    "-A",
    "trust",
    "-E",
    "UTF8",
    "-N"
  ])
  execFileSync(initdb, initdbArgs, { cwd: folder, stdio: "ignore" })
  const [command, args] = as(join(bin, "postgres"), ["-D", data, "-p", String(port), "-k", folder, "-h", "127.0.0.1"])
  const server = spawn(command, args, { cwd: folder, stdio: "ignore" })
  const stop = () => {
    server.kill("SIGINT")
    rmSync(folder, { recursive: true, force: true })
  }
  process.once("exit", stop)
  await until("PostgreSQL", () => isOpen("127.0.0.1", port))
  return { url: `postgres://postgres@127.0.0.1:${port}/postgres`, found: `started from ${bin}`, stop }
}

/** the server that tests share; whoever uses it takes a schema of its own and drops it */
export const findPostgres = async (): Promise<Service> => {
  const url = process.env["WINDLASS_POSTGRES_URL"]
  if (url !== undefined && url !== "") return { url, found: "WINDLASS_POSTGRES_URL" }
  if (await isOpen("127.0.0.1", 5432)) {
    const user = process.env["PGUSER"] ?? "postgres"
    const database = process.env["PGDATABASE"] ?? user
    return { url: `postgres://${user}@127.0.0.1:5432/${database}`, found: "127.0.0.1:5432" }
  }
  return startPostgres()
}

export interface RedisServer extends Service {
  readonly port: number
  readonly folder: string
  readonly signal: (signal: NodeJS.Signals) => void
  /** by `kill -9`; its folder stays */
  readonly kill: () => Promise<void>
  /** the folder goes as well, unless it was given */
  readonly stop: (signal?: NodeJS.Signals) => Promise<void>
}

/** a server of one's own, that keeps nothing unless it is told to, and ends with the process */
export const startRedis = async (
  options: { readonly port?: number; readonly folder?: string; readonly args?: ReadonlyArray<string> } = {}
): Promise<RedisServer> => {
  const folder = options.folder ?? mkdtempSync(join(tmpdir(), "windlass-redis-"))
  const port = options.port ?? await freePort()
  const settings = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
  const server = spawn("redis-server", [...settings, ...options.args ?? []], { cwd: folder, stdio: "ignore" })
  const ended = new Promise<void>((resolve) => server.once("exit", () => resolve()).once("error", () => resolve()))
  const missing = new Promise<never>((_, reject) =>
    server.once("error", () =>
      reject(
        new Missing("no Redis: set WINDLASS_REDIS_URL, start one at 127.0.0.1:6379, or install its server package")
      ))
  )
  const tidy = () => {
    server.kill("SIGKILL")
    if (options.folder === undefined) rmSync(folder, { recursive: true, force: true })
  }
  process.once("exit", tidy)
  await Promise.race([until("Redis", () => isOpen("127.0.0.1", port)), missing])
  const signal = (name: NodeJS.Signals) => void server.kill(name)
  return {
    url: `redis://127.0.0.1:${port}`,
    found: "started redis-server",
    port,
    folder,
    signal,
    kill: () => {
      signal("SIGKILL")
      return ended
    },
    stop: async (name = "SIGTERM") => {
      signal(name)
      await ended
      process.off("exit", tidy)
      if (options.folder === undefined) rmSync(folder, { recursive: true, force: true })
    }
  }
}

/** the server that tests share; whoever uses it takes a prefix of its own and deletes its keys */
export const findRedis = async (): Promise<Service> => {
  const url = process.env["WINDLASS_REDIS_URL"]
  if (url !== undefined && url !== "") return { url, found: "WINDLASS_REDIS_URL" }
  if (await isOpen("127.0.0.1", 6379)) return { url: "redis://127.0.0.1:6379", found: "127.0.0.1:6379" }
  return startRedis()
}
