/**
 * Wake-ups. All layers of one process that are on the same file share one `Wake`, so that what one of them commits is
 * heard by the others at once and without real time. Commits of other processes are noticed by `Poll`, which wakes
 * everybody.
 *
 * @since 0.1.0
 */
import type { Result } from "../../Capability.ts"

export class Wake {
  private readonly listeners = new Map<string, Set<() => void>>()
  private readonly enders = new Map<string, Set<(result: Result) => void>>()
  private layers = 0

  /** calls back at every signal on the topic, until the returned function is called */
  on(topic: string, listener: () => void): () => void {
    return join(this.listeners, topic, listener)
  }

  signal(topic: string): void {
    const listeners = this.listeners.get(topic)
    // a copy: who is woken may leave or join meanwhile
    if (listeners !== undefined) { for (const listener of Array.from(listeners)) listener() }
  }

  signalAll(): void {
    for (const topic of Array.from(this.listeners.keys())) this.signal(topic)
  }

  /** calls back with what the job came to, if it is this process that ends it: also when its result is not kept */
  onEnd(id: string, listener: (result: Result) => void): () => void {
    return join(this.enders, id, listener)
  }

  isAwaited(id: string): boolean {
    return this.enders.size > 0 && this.enders.has(id)
  }

  ended(id: string, result: Result): void {
    const listeners = this.enders.get(id)
    if (listeners !== undefined) { for (const listener of Array.from(listeners)) listener(result) }
  }

  static readonly queue = (queue: number): string => `queue ${queue}`
  static readonly leader = (name: string): string => `leader ${name}`
  static readonly result = (id: string): string => `result ${id}`
  static readonly aborts = "aborts"

  /** the one of a file; a private one for a database in memory (no path) */
  static acquire(path: string | undefined): { readonly wake: Wake; readonly release: () => void } {
    if (path === undefined) return { wake: new Wake(), release: () => {} }
    let wake = files.get(path)
    if (wake === undefined) files.set(path, wake = new Wake())
    const shared = wake
    shared.layers++
    return {
      wake: shared,
      release: () => {
        if (--shared.layers === 0) files.delete(path)
      }
    }
  }
}

/** by absolute path */
const files = new Map<string, Wake>()

const join = <A>(map: Map<string, Set<A>>, key: string, value: A): () => void => {
  let set = map.get(key)
  if (set === undefined) map.set(key, set = new Set())
  set.add(value)
  return () => {
    set.delete(value)
    if (set.size === 0 && map.get(key) === set) map.delete(key)
  }
}
