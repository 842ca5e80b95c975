/**
 * What Postgres really does for a call of the backend: the plans of all its statements, those inside of functions too, with
 * what they read. The server sends them as notices (`auto_explain`), and a relay before it hears them; the backend knows
 * nothing of it. Needs a superuser.
 */
import * as PgClient from "@effect/sql-pg/PgClient"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Redacted from "effect/Redacted"
import type * as Scope from "effect/Scope"
import { connect, createServer, type Socket } from "node:net"
import { Backend, type Item, type Receipt, type Settlement } from "windlass/Backend"
import * as PostgresBackend from "windlass/backends/PostgresBackend"

export interface Node {
  readonly "Node Type": string
  readonly "Relation Name"?: string
  readonly "Index Name"?: string
  readonly "Actual Rows"?: number
  readonly "Shared Hit Blocks"?: number
  readonly "Shared Read Blocks"?: number
  readonly Plans?: ReadonlyArray<Node>
}

/** one statement of a call: the call itself, or one inside of it, whose pages are counted there too */
export interface Statement {
  readonly query: string
  readonly plan: Node
  /** pages of 8 KiB that were looked at, each as often as it was */
  readonly pages: number
}

export const nodes = (plan: Node): ReadonlyArray<Node> => [plan, ...(plan.Plans ?? []).flatMap(nodes)]

const statementOf = (notice: string): Statement | undefined => {
  const from = notice.indexOf("plan:\n")
  if (from < 0) return undefined
  const { Plan: plan, "Query Text": query } = JSON.parse(notice.slice(from + 6)) as { Plan: Node; "Query Text": string }
  return { query, plan, pages: (plan["Shared Hit Blocks"] ?? 0) + (plan["Shared Read Blocks"] ?? 0) }
}

/** the `M` field of every NoticeResponse in what a server sends, however it is cut into chunks */
const listener = (heard: (message: string) => void) => {
  let rest = Buffer.alloc(0)
  return (chunk: Buffer): void => {
    rest = Buffer.concat([rest, chunk])
    while (rest.length >= 5) {
      const end = 1 + rest.readInt32BE(1)
      if (rest.length < end) return
      if (rest[0] === 0x4e) {
        const fields = rest.subarray(5, end).toString().split("\0")
        const message = fields.find((field) => field.startsWith("M"))
        if (message !== undefined) heard(message.slice(1))
      }
      rest = rest.subarray(end)
    }
  }
}

const relay = (url: string, heard: (message: string) => void): Effect.Effect<string, never, Scope.Scope> =>
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => {
        const target = new URL(url)
        const open = new Set<Socket>()
        const server = createServer((client) => {
          const behind = connect({ host: target.hostname, port: Number(target.port), noDelay: true })
          behind.on("data", listener(heard))
          for (const [one, other] of [[client, behind], [behind, client]] as const) {
            open.add(one)
            one.on("error", () => {}).on("close", () => other.destroy()).pipe(other)
          }
        })
        return new Promise<{ readonly port: number; readonly close: () => void }>((resolve, reject) => {
          server.once("error", reject).listen(0, "127.0.0.1", () => {
            const address = server.address()
            resolve({
              port: typeof address === "object" && address !== null ? address.port : 0,
              close: () => {
                server.close()
                for (const socket of open) socket.destroy()
              }
            })
          })
        })
      }),
      ({ close }) => Effect.sync(close)
    ),
    ({ port }) => {
      const through = new URL(url)
      through.hostname = "127.0.0.1"
      through.port = String(port)
      return through.href
    }
  )

const item = (id: string): Item => ({
  envelope: { id, task: "T", version: 1, payload: "{\"to\":\"ann\"}", headers: {}, origin: "user" }
})

const succeeded: Settlement = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined }

const retried: Settlement = {
  _tag: "Retry",
  why: "failed",
  after: 3_600_000,
  attempt: "spent",
  place: "back",
  error: "no"
}

/** calls of a backend at a queue, each with the statements that it ran on the server */
export interface Plans {
  /** stores so many jobs at once, below the backend */
  readonly load: (count: number) => Effect.Effect<void, unknown>
  /** claims and settles so many, in large batches */
  readonly work: (count: number) => Effect.Effect<void, unknown>
  /** an old transaction, until the scope ends */
  readonly pin: Effect.Effect<void, unknown, Scope.Scope>
  /** one round of all the hot calls for 100 jobs, by name; `claim` may be one that looks everywhere (`floors.ts`) */
  readonly round: Effect.Effect<
    Readonly<Record<"publish" | "claim" | "exchange" | "settle", ReadonlyArray<Statement>>>,
    unknown
  >
}

const batch = 100

/** in a schema of its own on a server of which we are the superuser */
export const plans = (url: string, schema: string): Effect.Effect<Plans, unknown, Scope.Scope> =>
  Effect.gen(function*() {
    let heard: Array<Statement> = []
    const through = yield* relay(url, (message) => {
      const statement = statementOf(message)
      if (statement?.query.includes(schema) === true) heard.push(statement)
    })
    const explaining = PgClient.layer({
      url: Redacted.make(through),
      startupParameters: {
        session_preload_libraries: "auto_explain",
        client_min_messages: "log",
        "auto_explain.log_min_duration": "0",
        "auto_explain.log_nested_statements": "on",
        "auto_explain.log_analyze": "on",
        "auto_explain.log_buffers": "on",
        "auto_explain.log_timing": "off",
        "auto_explain.log_format": "json"
      }
    })
    const context = yield* Layer.build(
      PostgresBackend.layer({ schema, connections: 2, notify: false, statementTimeout: false }).pipe(
        Layer.provide(explaining)
      )
    )
    const sql = Context.get(
      yield* Layer.build(PgClient.layer({ url: Redacted.make(url), maxConnections: 2 })),
      PgClient.PgClient
    )
    const backend = Context.get(context, Backend)
    const subscription = yield* backend.subscribe("q", { worker: "w" })
    let made = 0
    const publish = Effect.suspend(() => {
      const from = made
      made += batch
      return backend.publish("q", Array.from({ length: batch }, (_, n) => item(`p${from + n}`)))
    })
    const all = (receipts: ReadonlyArray<Receipt>, settlement: Settlement) =>
      receipts.map((receipt) => [receipt, settlement] as const)
    const during = <A, E>(call: Effect.Effect<A, E>): Effect.Effect<readonly [A, ReadonlyArray<Statement>], E> =>
      Effect.suspend(() => {
        heard = []
        return Effect.map(call, (value) => [value, heard] as const)
      })
    return {
      load: (count) =>
        Effect.gen(function*() {
          const names = { job: sql(`${schema}.job`), ready: sql(`${schema}.ready`), queue: sql(`${schema}.queue`) }
          const seq = `${schema}.seq`
          yield* sql`
            WITH loaded AS (
              INSERT INTO ${names.job} (num, id, queue, task, version, origin, payload, rank, enqueued)
              SELECT nextval(${seq}::regclass), gen_random_uuid()::text, q.num, 'T', 1, 'user', '{"to":"bob"}', 0, 0
              FROM ${names.queue} q, generate_series(1, ${count}::int4) WHERE q.name = 'q'
              RETURNING queue, num)
            INSERT INTO ${names.ready} (queue, rank, pos, num, special) SELECT queue, 0, num, num, false FROM loaded`
        }),
      work: (count) =>
        Effect.gen(function*() {
          for (let left = count; left > 0; left -= 5_000) {
            const taken = yield* subscription.take(Math.min(left, 5_000))
            yield* subscription.settle(all(taken.map(({ receipt }) => receipt), succeeded))
          }
        }),
      pin: Effect.gen(function*() {
        const connection = yield* sql.reserve
        yield* connection.executeUnprepared("BEGIN ISOLATION LEVEL REPEATABLE READ", [], undefined)
        yield* connection.executeUnprepared("SELECT pg_current_xact_id()::text", [], undefined)
      }),
      round: Effect.gen(function*() {
        const [, stored] = yield* during(publish)
        const [first, claim] = yield* during(subscription.take(batch))
        const mixed = first.map(({ receipt }, n) => [receipt, n % 2 === 0 ? succeeded : retried] as const)
        const [[, second], exchange] = yield* during(subscription.exchange(mixed, batch))
        const [, settle] = yield* during(subscription.settle(all(second.map(({ receipt }) => receipt), succeeded)))
        return { publish: stored, claim, exchange, settle }
      })
    }
  })
