/**
 * Times as coarse as those of an engine that is posed as: rounded up, so that nothing is early.
 *
 * @since 0.1.0
 */
import type { Item, Receipt, Settlement } from "../../Backend.ts"

const up = (millis: number, grain: number): number => Math.ceil(millis / grain) * grain

export const items = (items: ReadonlyArray<Item>, grain: number, now: number): ReadonlyArray<Item> =>
  items.map((item) =>
    item.due === undefined ? item : {
      ...item,
      due: item.due._tag === "After"
        ? { _tag: "After", millis: up(item.due.millis, grain) }
        : { _tag: "At", time: now + up(item.due.time - now, grain) }
    }
  )

export const settlements = (
  items: ReadonlyArray<readonly [Receipt, Settlement]>,
  grain: number
): ReadonlyArray<readonly [Receipt, Settlement]> =>
  items.map((item) =>
    item[1]._tag === "Retry" && item[1].after > 0
      ? [item[0], { ...item[1], after: up(item[1].after, grain) }]
      : item
  )
