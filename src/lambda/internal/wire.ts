/** Messages that the SQS backend published. */
import type { Envelope } from "../../Backend.ts"
import type { Record } from "./model.ts"

/** The envelope of a message that was enqueued by this library; undefined for any other. @internal */
export const enqueued = (_record: Partial<Record>, _body: string): Envelope | undefined => undefined
