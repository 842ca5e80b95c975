/**
 * Messages that others sent.
 *
 * @since 0.1.0
 */
import type { Envelope } from "../../Backend.ts"

/** a message that this library did not write, as SQS has it */
export interface Message {
  readonly id: string
  readonly body: string
  /** the message's attributes that are texts */
  readonly attributes: Readonly<Record<string, string>>
}

/** the job that such a message asks for; undefined when it is none */
export type Foreign = (
  message: Message
) => Pick<Envelope, "task" | "payload"> & Partial<Pick<Envelope, "version" | "headers">> | undefined
