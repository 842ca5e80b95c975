/**
 * The limit of a group, as the backends that have `GroupLimit` check it.
 *
 * @since 0.1.0
 */
import type { Item } from "../../Backend.ts"

/** what fits the integers of every engine */
export const maxGroupLimit = 2_147_483_647

/** what is wrong with the item's limit, if anything */
export const badGroupLimit = ({ group, groupLimit }: Item): string | undefined =>
  groupLimit === undefined || (Number.isInteger(groupLimit) && groupLimit >= 1 && groupLimit <= maxGroupLimit)
    ? undefined
    : `a limit of ${groupLimit} for group "${group}", which is no whole number from 1 to ${maxGroupLimit}`

/** the same, of a backend whose groups run one at a time */
export const anyGroupLimit = (backend: string, item: Item): string | undefined =>
  item.groupLimit === undefined || item.groupLimit === 1
    ? undefined
    : `a limit of ${item.groupLimit} for group "${item.group}", and the ${backend} backend runs the jobs of a group one at ` +
      `a time: enqueue it without a limit, or use a backend that has GroupLimit`
