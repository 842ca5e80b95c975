/** One message, several services: a copy for each that has a channel for its address. */
import type { Item } from "../../Backend.ts"
import { isService } from "../../Middleware.ts"
import type * as TaskGroup from "../../TaskGroup.ts"
import { InvalidAddress } from "./address.ts"
import { finder } from "./message.ts"

/** Throws {@link InvalidAddress}. @internal */
export const fanOut = (
  services: Readonly<Record<string, TaskGroup.TaskGroup<any>>>
): (address: string, item: Item) => ReadonlyArray<readonly [queue: string, copy: Item]> => {
  const owners = new Map<string, string>()
  const finders = Object.entries(services).map(([name, group]) => {
    for (const task of group.tasks) {
      const queue = task.settings.queue ?? "default"
      const invalid = (message: string) => new InvalidAddress({ address: task._tag, message })
      const key = JSON.stringify([queue, task._tag])
      const owner = owners.get(key)
      if (owner !== undefined) {
        throw invalid(
          `channel ${task._tag} of services ${owner} and ${name} has the same name on the same queue ${queue}, so one ` +
            "would take the messages of the other: give each service a queue of its own"
        )
      }
      owners.set(key, name)
      const half = task.middleware.find((middleware) => isService(middleware) && middleware.enqueue)
      if (half !== undefined) {
        throw invalid(
          `channel ${task._tag} of service ${name} has middleware with a half at the enqueue point, which a message ` +
            "from the bus does not pass there: declare it on the channel that is emitted"
        )
      }
    }
    return [name, finder(group)] as const
  })
  return (address, item) =>
    finders.flatMap(([name, find]) => {
      const found = find(address)
      if (found === undefined) return []
      const { envelope, unique } = item
      const copy: Item = {
        ...item,
        // the same again when the message is sent again: who has it keeps one
        envelope: { ...envelope, id: `${envelope.id}/${name}`, task: found.task._tag, version: found.task.version },
        unique: unique === undefined ? undefined : { ...unique, key: `${name}:${unique.key}` }
      }
      return [[found.task.settings.queue ?? "default", copy] as const]
    })
}
