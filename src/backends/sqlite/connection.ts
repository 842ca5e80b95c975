/**
 * The connection of one layer: transactions that are one synchronous step, and waiting for the file's write lock
 * without holding up the event loop. Everything that goes to SQLite goes through here.
 *
 * @since 0.1.0
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite"
import type { BackendError } from "../../Backend.ts"
import { codeOf, fromCause, isBusy, refusal, type Stage } from "./errors.ts"
import { pragma } from "./open.ts"

/** a prepared statement whose rows come as arrays: cheaper than objects, for the statements of the hot path */
export interface Rows<Row extends ReadonlyArray<unknown>> {
  readonly get: (...params: ReadonlyArray<SQLInputValue>) => Row | undefined
  readonly all: (...params: ReadonlyArray<SQLInputValue>) => Array<Row>
}

/** a prepared statement whose rows come as objects */
export interface Records<Row> {
  readonly get: (...params: ReadonlyArray<SQLInputValue>) => Row | undefined
  readonly all: (...params: ReadonlyArray<SQLInputValue>) => Array<Row>
}

/** a failure inside a transaction, with how far it had come */
class Failed {
  readonly cause: unknown
  readonly stage: Stage
  constructor(cause: unknown, stage: Stage) {
    this.cause = cause
    this.stage = stage
  }
}

export class Connection {
  readonly database: DatabaseSync
  readonly clock: Clock.Clock
  readonly name: string
  readonly filename: string
  private readonly lockTimeout: number
  private readonly begin: StatementSync
  private readonly beginRead: StatementSync
  private readonly commit: StatementSync
  private readonly rollback: StatementSync
  /** Node 22 reads a text up to its first NUL and no further: what has one cannot be stored there */
  readonly keepsNul: boolean
  /** write transactions that this connection committed */
  writes = 0
  /** what the running transaction wants noted when it is durable */
  private afterCommit: Array<() => void> = []
  /** whom it concerns */
  private messages: Array<() => void> = []

  constructor(
    database: DatabaseSync,
    clock: Clock.Clock,
    options: { readonly name: string; readonly filename: string; readonly lockTimeout: number }
  ) {
    this.database = database
    this.clock = clock
    this.name = options.name
    this.filename = options.filename
    this.lockTimeout = options.lockTimeout
    this.begin = database.prepare("BEGIN IMMEDIATE")
    this.beginRead = database.prepare("BEGIN")
    this.commit = database.prepare("COMMIT")
    this.rollback = database.prepare("ROLLBACK")
    this.keepsNul = database.prepare("SELECT 'a' || char(0) || 'b' AS text").get()!["text"] === "a\u0000b"
  }

  /** parameters are plain `?`: Node 22 takes `?1` for a named one and does not bind it by position */
  statement(sql: string): StatementSync {
    return this.database.prepare(sql)
  }

  rows<Row extends ReadonlyArray<unknown>>(sql: string): Rows<Row> {
    const statement = this.database.prepare(sql)
    statement.setReturnArrays(true)
    return statement as unknown as Rows<Row>
  }

  records<Row>(sql: string): Records<Row> {
    return this.database.prepare(sql) as unknown as Records<Row>
  }

  now(): number {
    return Math.floor(this.clock.currentTimeMillisUnsafe())
  }

  /**
   * Milliseconds on a clock that nobody sets, the same for all processes since the machine started. Leases are counted on
   * it: when the machine's time is set, nobody's lease looks over, and nobody's ends an hour late.
   */
  steady(): number {
    return Math.floor(Number(this.clock.monotonicTimeNanosUnsafe()) / 1_000_000)
  }

  /** called inside a transaction: `run` is called as soon as it is durable, and never if it is not */
  after(run: () => void): void {
    this.afterCommit.push(run)
  }

  /**
   * Called inside a transaction: `run`, which wakes somebody, is called on the scheduler when it is durable, or may be.
   * Resuming a fiber runs it at once; so who is woken runs after the call that woke it, and never inside of it.
   */
  tell(run: () => void): void {
    this.messages.push(run)
  }

  /** one write transaction. When the effect has succeeded it is durable; when it has failed, nothing was changed */
  write<A>(operation: string, run: (now: number) => A): Effect.Effect<A, BackendError> {
    return this.attempt(operation, () => this.transact(this.begin, run))
  }

  /** reads that belong together, from one snapshot */
  read<A>(operation: string, run: (now: number) => A): Effect.Effect<A, BackendError> {
    return this.attempt(operation, () => this.transact(this.beginRead, run))
  }

  /** a single statement that reads */
  peek<A>(operation: string, run: (now: number) => A): Effect.Effect<A, BackendError> {
    return this.attempt(operation, () => run(this.now()))
  }

  /** best effort: moves the write-ahead log into the database and empties it */
  checkpoint(): void {
    try {
      this.database.exec("PRAGMA wal_checkpoint(TRUNCATE)")
    } catch {
      // somebody else reads or writes: they, or the next time, will do it
    }
  }

  /** best effort: gives up to `step` unused pages back to the file system when there are more than `keep` */
  shrink(keep: number, step: number): boolean {
    try {
      if (pragma(this.database, "freelist_count") <= keep) return false
      this.database.exec(`PRAGMA incremental_vacuum(${step})`)
      return true
    } catch {
      return false
    }
  }

  close(): void {
    if (!this.database.isOpen) return
    this.checkpoint()
    this.database.close()
  }

  private transact<A>(begin: StatementSync, run: (now: number) => A): A {
    begin.run()
    let result: A
    try {
      result = run(this.now())
    } catch (cause) {
      this.undo()
      throw cause
    }
    try {
      this.commit.run()
    } catch (cause) {
      // still inside the transaction: it can be taken back, so it certainly did not happen
      const undone = this.database.isOpen && this.database.isTransaction && this.undo()
      this.afterCommit = []
      throw new Failed(cause, undone ? "before" : "commit")
    }
    if (begin === this.begin) this.writes++
    if (this.afterCommit.length > 0) {
      const runs = this.afterCommit
      this.afterCommit = []
      for (const run of runs) run()
    }
    return result
  }

  private deliver(fiber: Fiber.Fiber<unknown, unknown>): void {
    if (this.messages.length === 0) return
    const messages = this.messages
    this.messages = []
    fiber.currentDispatcher.scheduleTask(() => {
      for (const message of messages) message()
    }, 0)
  }

  private undo(): boolean {
    this.afterCommit = []
    this.messages = []
    // SQLite takes some failures back by itself (disk full, I/O errors)
    if (!this.database.isTransaction) return true
    try {
      this.rollback.run()
      return true
    } catch {
      return false
    }
  }

  private attempt<A>(operation: string, run: () => A): Effect.Effect<A, BackendError> {
    return this.once(run, (cause) => this.recover(operation, run, cause, this.steady() + this.lockTimeout, 0))
  }

  private once<A>(
    run: () => A,
    failed: (cause: unknown) => Effect.Effect<A, BackendError>
  ): Effect.Effect<A, BackendError> {
    return Effect.withFiber((fiber) => {
      let answer: Effect.Effect<A, BackendError>
      try {
        answer = Effect.succeed(run())
      } catch (cause) {
        answer = failed(cause)
      }
      this.deliver(fiber)
      return answer
    })
  }

  private recover<A>(
    operation: string,
    run: () => A,
    failure: unknown,
    deadline: number,
    tries: number
  ): Effect.Effect<A, BackendError> {
    const { cause, stage } = failure instanceof Failed ? failure : { cause: failure, stage: "before" as const }
    if (!this.database.isOpen) {
      return Effect.fail(refusal(this.name, operation, `${this.filename} was closed when the scope of its layer ended`))
    }
    // not SQLite's: a bug, or an argument that is against its type
    if (codeOf(cause) === undefined) return Effect.die(cause)
    if (!isBusy(cause) || stage === "commit" || this.steady() >= deadline) {
      return Effect.fail(fromCause(this.name, operation, this.filename, cause, stage))
    }
    // jitter, or the waiting processes would meet again
    return Effect.flatMap(Random.next, (random) =>
      Effect.andThen(
        this.clock.sleep(Duration.millis(1 + Math.min(2 ** tries, 16) * random)),
        this.once(run, (cause) => this.recover(operation, run, cause, deadline, tries + 1))
      ))
  }
}
