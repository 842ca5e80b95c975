/**
 * Wake-ups within the process, by topic. A counter per topic lets those who were busy see that there was a signal
 * meanwhile.
 *
 * @since 0.1.0
 */
import type { Result } from "../../Capability.ts"

export class Wake {
  private readonly listeners = new Map<string, Set<() => void>>()
  private readonly counts = new Map<string, number>()
  private readonly enders = new Map<string, Set<(result: Result) => void>>()
  private readonly aborters = new Map<string, Set<(id: string) => void>>()
  private all = 0

  /** calls back at every signal on the topic, until the returned function is called */
  on(topic: string, listener: () => void): () => void {
    return join(this.listeners, topic, listener)
  }

  signal(topic: string): void {
    this.counts.set(topic, (this.counts.get(topic) ?? 0) + 1)
    this.call(topic)
  }

  /** when hints may have been missed */
  signalAll(): void {
    this.all++
    for (const topic of Array.from(this.listeners.keys())) this.call(topic)
  }

  /** grows with every signal on the topic */
  count(topic: string): number {
    return this.all + (this.counts.get(topic) ?? 0)
  }

  isListened(topic: string): boolean {
    return this.listeners.has(topic)
  }

  /** calls back with what the job came to, if it is this process that ends it: also when its result is not kept */
  onEnd(id: string, listener: (result: Result) => void): () => void {
    return join(this.enders, id, listener)
  }

  isAwaited(id: string): boolean {
    return this.enders.size > 0 && this.enders.has(id)
  }

  ended(id: string, result: Result): void {
    for (const listener of Array.from(this.enders.get(id) ?? [])) listener(result)
  }

  /** calls back with the ids of running jobs of this worker whose abort was requested */
  onAbort(queue: string, worker: string, listener: (id: string) => void): () => void {
    return join(this.aborters, `${worker}\n${queue}`, listener)
  }

  aborted(queue: string, worker: string, id: string): void {
    for (const listener of Array.from(this.aborters.get(`${worker}\n${queue}`) ?? [])) listener(id)
  }

  private call(topic: string): void {
    // a copy: who is woken may leave or join meanwhile
    for (const listener of Array.from(this.listeners.get(topic) ?? [])) listener()
  }
}

export const topicOf = {
  queue: (name: string): string => `q ${name}`,
  result: (id: string): string => `r ${id}`,
  leader: (name: string): string => `l ${name}`
} as const

const join = <A>(map: Map<string, Set<A>>, key: string, value: A): () => void => {
  let set = map.get(key)
  if (set === undefined) map.set(key, set = new Set())
  set.add(value)
  return () => {
    set.delete(value)
    if (set.size === 0 && map.get(key) === set) map.delete(key)
  }
}
