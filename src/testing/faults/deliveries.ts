/**
 * What the fault kit does to deliveries on their way from the engine: it hands one out twice, and takes leases away.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import * as Equal from "effect/Equal"
import type { BackendError, Delivery, Receipt, Settlement, Subscription } from "../../Backend.ts"

interface Holding {
  readonly receipt: Receipt
  readonly worker: string
  readonly claimedAt: number
  readonly settle: Subscription["settle"]
}

/** what the next delivery of a job must say that the engine does not know */
interface Loss {
  readonly lostFrom: NonNullable<Delivery["lostFrom"]>
  readonly unsettled: number
}

const released: Settlement = {
  _tag: "Retry",
  why: "lost",
  after: 0,
  attempt: "kept",
  place: "front",
  error: undefined
}

export class Deliveries {
  /** by the job's id: who holds it now */
  private readonly holdings = new Map<string, Holding>()
  private readonly losses = new Map<string, Loss>()
  private lost: Array<Receipt> = []
  /** by queue: deliveries that are handed out once more */
  private readonly again = new Map<string, Array<Delivery>>()

  /** what was asked to be handed out once more comes before anything of the engine */
  takeAgain(queue: string, max: number): Array<Delivery> {
    return this.again.get(queue)?.splice(0, max) ?? []
  }

  hasAgain(queue: string): boolean {
    return (this.again.get(queue)?.length ?? 0) > 0
  }

  duplicate(queue: string, delivery: Delivery): void {
    const waiting = this.again.get(queue)
    if (waiting === undefined) this.again.set(queue, [delivery])
    else waiting.push(delivery)
  }

  handOut(
    delivery: Delivery,
    worker: string,
    claimedAt: number,
    settle: Subscription["settle"]
  ): Delivery {
    const { id } = delivery.envelope
    const loss = this.losses.get(id)
    this.holdings.set(id, { receipt: delivery.receipt, worker, claimedAt, settle })
    return loss === undefined ? delivery : {
      ...delivery,
      lostFrom: delivery.lostFrom ?? loss.lostFrom,
      unsettled: delivery.unsettled + loss.unsettled
    }
  }

  isLost(receipt: Receipt): boolean {
    return this.lost.some((other) => sameReceipt(other, receipt))
  }

  /** a settlement took effect */
  settled(receipt: Receipt, settlement: Settlement): void {
    if (settlement._tag !== "Retry" || settlement.unbegun !== true) this.losses.delete(receipt.id)
    const holding = this.holdings.get(receipt.id)
    if (holding !== undefined && sameReceipt(holding.receipt, receipt)) this.holdings.delete(receipt.id)
  }

  /**
   * The owner of the job loses its lease: the engine gets the job back, in a way that every engine understands, and what
   * it then cannot know (who lost it, and that nothing was settled) is added to the next delivery.
   */
  lose(id: string): Effect.Effect<boolean, BackendError> {
    return Effect.suspend(() => {
      const holding = this.holdings.get(id)
      if (holding === undefined) return Effect.succeed(false)
      const { claimedAt, receipt, settle, worker } = holding
      this.lost.push(receipt)
      this.holdings.delete(id)
      const before = this.losses.get(id)
      this.losses.set(id, { lostFrom: { worker, claimedAt }, unsettled: (before?.unsettled ?? 0) + 1 })
      return Effect.map(settle([[receipt, released]]), ([answer]) => {
        if (answer === "Settled") return true
        this.losses.delete(id)
        return false
      })
    })
  }
}

const sameReceipt = (a: Receipt, b: Receipt): boolean => a.id === b.id && Equal.equals(a.fence, b.fence)
