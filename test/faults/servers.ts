/**
 * Servers that the suite starts itself, on free ports, with their data in temporary folders: to be stopped, killed and
 * started again on the same data.
 */
import * as Effect from "effect/Effect"
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process"
import { chmodSync, chownSync, existsSync, mkdtempSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { tmpdir, userInfo } from "node:os"
import { delimiter, join } from "node:path"
import { promisify } from "node:util"
import { freePort, Missing, postgresBinaries } from "../support/services.ts"

export interface Server {
  readonly url: string
  readonly stop: (signal: NodeJS.Signals) => Promise<void>
  /** returns when it takes connections */
  readonly start: () => Promise<void>
}

interface Program {
  readonly name: string
  readonly command: string
  readonly args: ReadonlyArray<string>
  readonly folder: string
  readonly port: number
  readonly as?: { readonly uid: number; readonly gid: number } | undefined
  /** whether it answers: an open port is not enough */
  readonly answers: () => Promise<boolean>
}

const startTimeout = 30_000

const watch = `while kill -0 "$1" && kill -0 "$2"; do sleep 1; done 2> /dev/null
kill -0 "$1" 2> /dev/null || { kill -9 "$2"; rm -rf "$3"; } 2> /dev/null`

/** a server outlives tests that are killed themselves; this ends it then */
const guard = (server: ChildProcess, folder: string): void => {
  if (server.pid === undefined) return
  spawn("sh", ["-c", watch, "sh", String(process.pid), String(server.pid), folder], { detached: true, stdio: "ignore" })
    .unref()
}

const make = (program: Program, url: string) => {
  let running: ChildProcess | undefined
  let errors = ""
  const kill = () => void running?.kill("SIGKILL")
  const spawned = () => {
    const child = spawn(program.command, program.args, {
      cwd: program.folder,
      stdio: ["ignore", "ignore", "pipe"],
      ...program.as
    })
    guard(child, program.folder)
    child.stderr.on("data", (chunk) => {
      errors = (errors + String(chunk)).slice(-2_000)
    })
    return child
  }
  const start = async () => {
    const deadline = performance.now() + startTimeout
    running = spawned()
    while (!(await program.answers())) {
      if (performance.now() > deadline) throw new Error(`${program.name} does not answer: ${errors}`)
      // what is left of a server that was killed may hold its memory for a moment, and then the next one ends at once
      if (running.exitCode !== null) running = spawned()
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }
  const stop = (signal: NodeJS.Signals) =>
    new Promise<void>((resolve) => {
      const child = running
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return resolve()
      child.once("exit", () => resolve())
      child.kill(signal)
    })
  process.once("exit", kill)
  const end = async () => {
    await stop("SIGKILL")
    process.off("exit", kill)
    rmSync(program.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  }
  const server: Server = { url, start, stop }
  return { server, end }
}

const scoped = (makeOne: () => Promise<ReturnType<typeof make>>) =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(async () => {
        const made = await makeOne()
        await made.server.start()
        return made
      }),
      ({ end }) => Effect.promise(end)
    ),
    ({ server }) => server
  )

/** the first bytes that a server sends when it is asked */
const asks =
  (port: number, question: Uint8Array | string, isAnswer: (answer: Buffer) => boolean) => (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect({ host: "127.0.0.1", port, timeout: 1_000 })
      const done = (answers: boolean) => {
        socket.destroy()
        resolve(answers)
      }
      socket.once("connect", () => void socket.write(question))
      socket.once("data", (chunk) => done(isAnswer(chunk)))
      socket.once("error", () => done(false)).once("timeout", () => done(false)).once("close", () => done(false))
    })

/** a start-up message for user and database `postgres`, protocol 3.0 */
const hello = (): Buffer => {
  const body = Buffer.from("\0\x03\0\0user\0postgres\0database\0postgres\0\0", "latin1")
  const length = Buffer.alloc(4)
  length.writeInt32BE(body.length + 4)
  return Buffer.concat([length, body])
}

export const postgres = scoped(async () => {
  const [bin] = postgresBinaries()
  if (bin === undefined) throw new Missing("no PostgreSQL server binaries: the suite needs one that it may kill")
  const folder = mkdtempSync(join(tmpdir(), "windlass-faults-postgres-"))
  const data = join(folder, "data")
  const port = await freePort()
  let as: Program["as"]
  // initdb and the server refuse to run as root
  if (userInfo().uid === 0) {
    const id = (flag: string) => Number(execFileSync("id", [flag, "postgres"], { encoding: "utf8" }))
    as = { uid: id("-u"), gid: id("-g") }
    chownSync(folder, as.uid, as.gid)
    chmodSync(folder, 0o700)
  }
  // it takes a second or more, in which workers of this process have leases to renew
  await promisify(execFile)(
    join(bin, "initdb"),
    ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N"],
    { cwd: folder, ...as }
  )
  return make({
    name: "PostgreSQL",
    command: join(bin, "postgres"),
    args: ["-D", data, "-p", String(port), "-k", folder, "-h", "127.0.0.1", "-c", "max_connections=300"],
    folder,
    port,
    as,
    answers: asks(port, hello(), (answer) => answer[0] === 0x52)
  }, `postgres://postgres@127.0.0.1:${port}/postgres`)
})

const redisBinary = (): string | undefined =>
  (process.env["PATH"] ?? "").split(delimiter).map((folder) => join(folder, "redis-server")).find(existsSync)

/** Redis forgets all scripts, as it does when it is restarted or fails over */
export const flushScripts = (url: string) =>
  Effect.promise(asks(Number(new URL(url).port), "SCRIPT FLUSH\r\n", (answer) => answer.toString().startsWith("+OK")))

/** every write is on the disk before it is answered: what is killed loses nothing that it acknowledged */
export const redis = scoped(async () => {
  const command = redisBinary()
  if (command === undefined) throw new Missing("no redis-server on the PATH: the suite needs one that it may kill")
  const folder = mkdtempSync(join(tmpdir(), "windlass-faults-redis-"))
  const port = await freePort()
  return make({
    name: "Redis",
    command,
    args: `--port ${port} --bind 127.0.0.1 --appendonly yes --appendfsync always`.split(" ").concat(
      ["--save", "", "--dir", folder, "--logfile", join(folder, "log")]
    ),
    folder,
    port,
    answers: asks(port, "PING\r\n", (answer) => answer.toString().startsWith("+PONG"))
  }, `redis://127.0.0.1:${port}`)
})

/** what is missing for an engine, if anything */
export const missing = (engine: string): string | undefined => {
  if (engine === "postgres" && postgresBinaries().length === 0) return "postgres: no server binaries (initdb, postgres)"
  if (engine === "redis" && redisBinary() === undefined) return "redis: no redis-server on the PATH"
  return undefined
}
