/**
 * The queues by name. What a job needs of its queue (that it is known, has this priority, has groups) is noted before the
 * job is stored, on a connection of the backend and not in the caller's transaction, and is remembered.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { BackendError, Destination, Item } from "../../Backend.ts"
import type { Calls } from "./calls.ts"
import { queueRefused } from "./limits.ts"
import { numbers } from "./params.ts"

interface Known {
  readonly num: number
  used: boolean
  special: boolean
  readonly ranks: Set<number>
}

export class Queues {
  private readonly calls: Calls
  private readonly known = new Map<string, Known>()
  private readonly enter: string
  private readonly find: string

  constructor(calls: Calls) {
    this.calls = calls
    this.enter = calls.sql("SELECT {enter}($1::text, $2::bool, $3::bool, $4::int2[])::int4")
    this.find = calls.sql("SELECT num FROM {queue} WHERE name = $1::text")
  }

  /** the queue's number; it is made when it is not there */
  number(name: string): Effect.Effect<number, BackendError> {
    return Effect.suspend(() => {
      const known = this.known.get(name)
      return known !== undefined ? Effect.succeed(known.num) : this.note(name, false, false, [])
    })
  }

  /** `undefined`: nobody ever used it */
  lookUp(name: string): Effect.Effect<number | undefined, BackendError> {
    return Effect.suspend(() => {
      const known = this.known.get(name)
      if (known !== undefined) return Effect.succeed(known.num)
      const refused = queueRefused(this.calls.name, "queue", name)
      return refused !== undefined
        ? Effect.fail(refused)
        : this.calls.one<number | undefined>("queue", this.find, [name])
    })
  }

  /** as `number`, for a queue that is to take these jobs */
  ready(name: string, items: ReadonlyArray<Item>): Effect.Effect<number, BackendError> {
    return Effect.suspend(() => {
      const known = this.known.get(name)
      let special = false
      let ranks: Set<number> | undefined
      for (const { group, priority, unique } of items) {
        if (group !== undefined || unique?.until === "started") special = true
        if (priority !== undefined && priority !== 0 && known?.ranks.has(-priority) !== true) {
          ;(ranks ??= new Set()).add(-priority)
        }
      }
      return known?.used === true && (known.special || !special) && ranks === undefined
        ? Effect.succeed(known.num)
        : this.note(name, true, special, ranks === undefined ? [] : Array.from(ranks))
    })
  }

  /** the queue's number, if this process has met it */
  met(name: string): number | undefined {
    return this.known.get(name)?.num
  }

  /** as `ready`, for a queue that is to take a job from another place; which keys it has is not known */
  awaiting(name: string, { group, priority }: Destination): Effect.Effect<number, BackendError> {
    return Effect.suspend(() => {
      const known = this.known.get(name)
      const rank = priority === undefined || priority === 0 ? 0 : -priority
      const special = typeof group === "string" || known?.special === true
      return known?.used === true && known.special === special && known.ranks.has(rank)
        ? Effect.succeed(known.num)
        : this.note(name, true, special, [rank])
    })
  }

  private note(
    name: string,
    used: boolean,
    special: boolean,
    ranks: ReadonlyArray<number>
  ): Effect.Effect<number, BackendError> {
    const refused = queueRefused(this.calls.name, "declare", name)
    if (refused !== undefined) return Effect.fail(refused)
    return Effect.map(
      this.calls.one<number>("declare", this.enter, [name, used, special, numbers(ranks)]),
      (num) => {
        let known = this.known.get(name)
        if (known === undefined) this.known.set(name, known = { num, used: false, special: false, ranks: new Set([0]) })
        known.used ||= used
        known.special ||= special
        for (const rank of ranks) known.ranks.add(rank)
        return num
      }
    )
  }
}
