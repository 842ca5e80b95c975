/**
 * Waiting for work on a connection of its own, with `BZPOPMIN` on the markers of all queues that somebody in this process
 * waits for. There is at most one marker per queue, so one of all waiting processes is woken; its claim puts the marker
 * back when something is left, and that wakes the next.
 *
 * A marker that came when nobody waits any more is put back, unless somebody here is just looking: who then has room left
 * looks again before it waits. In a cluster a blocking command takes keys of one slot, so there each queue has a connection.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Redis from "effect/persistence/Redis"
import type { Calls } from "./calls.ts"
import { topicOf, type Wake } from "./wake.ts"

/** seconds that one command blocks */
const block = 5
/** milliseconds until the next try when there is no connection, and between two tries to interrupt the command */
const again = 250
const nudging = 2

/** the queues of one connection */
class Post {
  readonly wanted = new Map<string, number>()
  readonly some = Latch.makeUnsafe(false)
  /** the queues that the running command waits for */
  current: ReadonlySet<string> = new Set()
  /** of the connection, while a command runs on it */
  client: string | undefined
  nudged = false
}

export class Listen {
  private readonly calls: Calls
  private readonly wake: Wake
  private readonly cluster: boolean
  private readonly fork: (effect: Effect.Effect<void>) => void
  private readonly posts = new Map<string, Post>()
  /** by queue: claims that are on their way, and whether a marker came meanwhile */
  private readonly claims = new Map<string, { count: number; marked: boolean }>()

  constructor(calls: Calls, wake: Wake, cluster: boolean, fork: (effect: Effect.Effect<void>) => void) {
    this.calls = calls
    this.wake = wake
    this.cluster = cluster
    this.fork = fork
  }

  /** somebody waits for work of the queue, until the returned function is called */
  want(queue: string): () => void {
    const key = this.cluster ? queue : ""
    let post = this.posts.get(key)
    if (post === undefined) {
      this.posts.set(key, post = new Post())
      this.fork(this.run(post))
    }
    const one = post
    one.wanted.set(queue, (one.wanted.get(queue) ?? 0) + 1)
    one.some.openUnsafe()
    if (one.client !== undefined && !one.current.has(queue) && !one.nudged) {
      one.nudged = true
      this.fork(this.nudge(one))
    }
    return () => {
      const left = one.wanted.get(queue)! - 1
      if (left > 0) one.wanted.set(queue, left)
      else one.wanted.delete(queue)
    }
  }

  /** a claim is on its way, until the returned function is called: with whether it has room left */
  claiming(queue: string): (room: boolean) => void {
    let claims = this.claims.get(queue)
    if (claims === undefined) this.claims.set(queue, claims = { count: 0, marked: false })
    const one = claims
    one.count++
    return (room) => {
      one.count--
      if (one.marked && room) this.wake.signal(topicOf.queue(queue))
      else if (one.marked && one.count === 0) this.fork(this.putBack(queue))
      if (room) one.marked = false
      if (one.count === 0) this.claims.delete(queue)
    }
  }

  /** the command that waits for too few queues returns */
  private nudge(post: Post): Effect.Effect<void> {
    return Effect.suspend(() => {
      const missing = Array.from(post.wanted.keys()).some((queue) => !post.current.has(queue))
      if (post.client === undefined || !missing) {
        post.nudged = false
        return Effect.void
      }
      return this.calls.send("await", "CLIENT", "UNBLOCK", post.client).pipe(
        Effect.andThen(Effect.sleep(Duration.millis(nudging))),
        Effect.matchEffect({
          // it looks by itself when the command has blocked for long enough
          onFailure: () => Effect.sync(() => void (post.nudged = false)),
          onSuccess: () => this.nudge(post)
        })
      )
    })
  }

  private run(post: Post): Effect.Effect<void> {
    return Effect.forever(
      Effect.andThen(
        post.some.await,
        Effect.scoped(Effect.flatMap(this.calls.redis.reserve, (connection) => this.serve(post, connection)))
      ).pipe(
        Effect.catch((error) => Effect.logDebug("windlass: the connection that waits for work broke", error)),
        Effect.ensuring(Effect.sync(() => void (post.client = undefined))),
        Effect.andThen(Effect.sleep(Duration.millis(again)))
      )
    )
  }

  private serve(post: Post, connection: Redis.Connection): Effect.Effect<never, unknown> {
    const { keys } = this.calls
    const once = Effect.suspend(() => {
      if (post.wanted.size === 0) {
        post.some.closeUnsafe()
        return post.some.await
      }
      post.current = new Set(post.wanted.keys())
      const queues = new Map(Array.from(post.current, (queue) => [keys.key(queue, "wake"), queue] as const))
      return Effect.flatMap(
        connection.send<ReadonlyArray<unknown> | null>("BZPOPMIN", ...queues.keys(), String(block)).pipe(
          // a connection that is dead without having been closed
          Effect.timeout(Duration.seconds(2 * block))
        ),
        (popped) => {
          const queue = popped === null ? undefined : queues.get(String(popped[0]))
          return queue === undefined ? Effect.void : this.woken(post, queue)
        }
      )
    })
    // in a cluster it waits for one queue, so there is never another one to wait for
    if (this.cluster) return Effect.forever(once)
    return Effect.andThen(
      Effect.map(connection.send<number>("CLIENT", "ID"), (id) => void (post.client = String(id))),
      Effect.forever(once)
    )
  }

  private woken(post: Post, queue: string): Effect.Effect<void> {
    if (post.wanted.has(queue)) return Effect.sync(() => this.wake.signal(topicOf.queue(queue)))
    const claims = this.claims.get(queue)
    if (claims === undefined) return this.putBack(queue)
    return Effect.sync(() => {
      claims.marked = true
    })
  }

  private putBack(queue: string): Effect.Effect<void> {
    return Effect.ignore(this.calls.send("await", "ZADD", this.calls.keys.key(queue, "wake"), "0", "0"))
  }
}
