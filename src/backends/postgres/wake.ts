/**
 * Wake-ups within the process. Topics: `q` and a queue's number (there may be work), `t` and a queue's number (jobs of a
 * transaction appeared, with positions that were given out long ago), `r` (a job ended whose result is
 * kept), `a` (an abort was requested), `l` (a leader gave its seat up). A counter per topic lets those who were busy see
 * that there was a signal meanwhile.
 *
 * @since 0.1.0
 */

export class Wake {
  private readonly listeners = new Map<string, Set<() => void>>()
  private readonly counts = new Map<string, number>()
  private all = 0

  /** calls back at every signal on the topic, until the returned function is called */
  on(topic: string, listener: () => void): () => void {
    let set = this.listeners.get(topic)
    if (set === undefined) this.listeners.set(topic, set = new Set())
    set.add(listener)
    return () => {
      set.delete(listener)
      if (set.size === 0 && this.listeners.get(topic) === set) this.listeners.delete(topic)
    }
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

  private call(topic: string): void {
    const listeners = this.listeners.get(topic)
    // a copy: who is woken may leave or join meanwhile
    if (listeners !== undefined) { for (const listener of Array.from(listeners)) listener() }
  }
}

export const topicOf = {
  queue: (num: number): string => `q${num}`,
  late: (num: number): string => `t${num}`,
  results: "r",
  aborts: "a",
  leaders: "l"
} as const
