/**
 * The names of all keys. Those of one queue share a hash tag, so they are in one slot of a cluster and a script may touch
 * all of them. What belongs to no queue (the list of queues, the seats of leaders) has a tag of its own.
 *
 * | key | type | what |
 * | --- | --- | --- |
 * | `meta` | hash | `seq`: the last number; `fence`: the last token; `paused` |
 * | `job` | hash | id -> what was published (see `record.ts`); never written again |
 * | `ready` | sorted set | by rank (priority, negated), then position and id |
 * | `sched` | sorted set | by due time; rank, position, whether in a group, id; at time 0 groups that are owed turns |
 * | `lease` | sorted set | by the end of the lease; id |
 * | `active` | hash | id -> fence, time of the claim, worker |
 * | `state` | hash | id -> JSON of what happened to a job since; most jobs never have one |
 * | `abort` | set | ids of the jobs that were asked to stop |
 * | `waiting` | sorted set | members of groups that wait: group, rank, position, id; all with score 0, so in that order |
 * | `lane` | hash | group -> its limit, how many of it run, how many have their turn, the last place of those (`groups.ts`) |
 * | `ukey` | hash | unique key -> number of the job, or end of the window, and id |
 * | `window` | sorted set | unique keys that end by time, by that time |
 * | `end` | hash | id -> JSON of how a job ended that is kept |
 * | `dead` | sorted set | by number; ids of the dead letters |
 * | `kept` | sorted set | by the time at which an ended job is forgotten; id |
 * | `wake` | sorted set | one member while there is something ready: who waits takes it with `BZPOPMIN` |
 * | `cursor` | hash | name of a cursor -> where it stands |
 *
 * @since 0.1.0
 */

/** what these keys have in them; greater with every change that scripts before it would misread */
export const layout = "2"

/** in the order in which every script of a queue gets them */
export const names = [
  "meta",
  "job",
  "ready",
  "sched",
  "lease",
  "active",
  "state",
  "abort",
  "waiting",
  "lane",
  "ukey",
  "window",
  "end",
  "dead",
  "kept",
  "wake",
  "cursor"
] as const

export type Name = (typeof names)[number]

/** why a prefix will not do, if so */
export const prefixRefused = (prefix: string): string | undefined =>
  prefix === "" || /[{}:\s]/.test(prefix)
    ? `the prefix is ${
      JSON.stringify(prefix)
    }: give it at least one character, without braces, colons and white space, so ` +
      `that keys of two prefixes are never the same`
    : undefined

export class Keys {
  readonly prefix: string
  /** the channel of all hints */
  readonly channel: string
  /** a hash: name of a queue -> layout of its keys */
  readonly queues: string
  /** a hash: name of a seat -> epoch of its last holder */
  readonly epochs: string
  private readonly ofQueues = new Map<string, ReadonlyArray<string>>()

  constructor(prefix: string) {
    this.prefix = prefix
    this.channel = `{${prefix}}:hints`
    this.queues = `{${prefix}}:queues`
    this.epochs = `{${prefix}}:epochs`
  }

  /** all keys of a queue, in the order of `names` */
  ofQueue(queue: string): ReadonlyArray<string> {
    let keys = this.ofQueues.get(queue)
    if (keys === undefined) {
      keys = names.map((name) => this.key(queue, name))
      this.ofQueues.set(queue, keys)
    }
    return keys
  }

  key(queue: string, name: Name): string {
    return `{${this.prefix}:${queue}}:${name}`
  }

  /** who holds a seat: it goes by itself when it is not renewed */
  seat(name: string): string {
    return `{${this.prefix}}:leader:${name}`
  }
}
