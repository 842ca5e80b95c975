/** The resolved chains as data. */
import * as Duration from "effect/Duration"
import * as Schedule from "effect/Schedule"
import type * as Middleware from "../../Middleware.ts"
import type * as TaskGroup from "../../TaskGroup.ts"
import { defaultMaxAttempts, entries, type Entry, queueOf } from "./resolve.ts"

/** `scope`: `worker`, `group <name>`, `task`, or `own` for a task's own wrap. Outermost first. */
export type ChainEntry = Entry

export interface TaskDescription {
  readonly task: string
  readonly version: number
  readonly aliases: ReadonlyArray<string>
  readonly queue: string
  /** outermost first, as it is entered; the handler stands inside the last */
  readonly chain: ReadonlyArray<ChainEntry>
  readonly maxAttempts: number
  /** milliseconds */
  readonly timeout: number | undefined
  readonly deadline: number | undefined
  readonly onInterrupted: string
  readonly onLost: string
}

const millis = (input: Duration.Input | undefined) => input === undefined ? undefined : Duration.toMillis(input)

export const describe = (
  group: TaskGroup.TaskGroup<string>,
  worker: ReadonlyArray<Middleware.ForWorker>
): ReadonlyArray<TaskDescription> =>
  group.tasks.map((task) => ({
    task: task._tag,
    version: task.version,
    aliases: task.aliases,
    queue: queueOf(task),
    chain: entries(worker, task),
    maxAttempts: task.retry === undefined
      ? 1
      : (Schedule.isSchedule(task.retry) ? undefined : task.retry.maxAttempts) ?? defaultMaxAttempts,
    timeout: millis(task.settings.timeout),
    deadline: millis(task.settings.deadline),
    onInterrupted: task.settings.onInterrupted ?? "requeue",
    onLost: task.settings.onLost ?? "requeue"
  }))
