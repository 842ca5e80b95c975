/**
 * The backend's part of a receipt, and the receipts that were settled in a transaction of the user.
 *
 * @since 0.1.0
 */
import type { Receipt } from "../../Backend.ts"

export class Fence {
  readonly num: number
  readonly token: number
  /** nothing but the job itself goes when it succeeds: no key, no group, no result, no history */
  readonly plain: boolean
  readonly queue: number
  /** it may stand with others in the row of their claim */
  readonly together: boolean

  constructor(num: number, token: number, plain: boolean, queue: number, together: boolean) {
    this.num = num
    this.token = token
    this.plain = plain
    this.queue = queue
    this.together = together
  }
}

/** `undefined`: a receipt that this backend did not make */
export const fenceOf = (receipt: Receipt): Fence | undefined => {
  const fence = receipt.fence as Partial<Fence> | null | undefined
  return typeof fence === "object" && fence !== null && Number.isSafeInteger(fence.num) &&
      Number.isSafeInteger(fence.token)
    ? fence as Fence
    : undefined
}

/**
 * What was completed in a transaction that has been committed. The runtime settles these jobs later, as it does all: the
 * database does not know them any more, this does.
 */
export class Committed {
  private readonly keys = new Set<string>()

  get size(): number {
    return this.keys.size
  }

  add(fence: Fence): void {
    this.keys.add(keyOf(fence))
  }

  has(fence: Fence): boolean {
    return this.keys.has(keyOf(fence))
  }

  delete(fence: Fence): boolean {
    return this.keys.delete(keyOf(fence))
  }
}

const keyOf = ({ num, token }: Fence): string => `${num}:${token}`
