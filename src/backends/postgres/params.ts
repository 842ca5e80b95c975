/**
 * Parameters of calls. Numbers go as text, for which the server finds the type: so one statement is prepared once,
 * whatever the size of its numbers.
 *
 * @since 0.1.0
 */
import * as PgTypes from "@effect/sql-pg/PgTypes"

/** an array of text, in which null may stand */
export const texts = (values: ReadonlyArray<string | null>): unknown => {
  const encoded = PgTypes.array(values, PgTypes.OID.text)
  if (encoded._tag === "Failure") throw encoded.failure
  return encoded.success
}

/** an array of whole numbers, for a parameter that is cast to its type */
export const numbers = (values: ReadonlyArray<number>): string => `{${values.join()}}`

export const number = (value: number): string => String(value)

/** what PostgreSQL cannot store in a text: NUL, and halves of surrogate pairs */
const unstorable = /\0|\p{Surrogate}/u
const everyUnstorable = /\0|\p{Surrogate}/gu

export const isStorable = (text: string): boolean => !unstorable.test(text)

/** for texts that people read: what cannot be stored is replaced */
export const readable = (text: string): string => text.replace(everyUnstorable, "\ufffd")
