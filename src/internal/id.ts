/**
 * Job ids: UUIDv7, so that they sort by the time they were made and an index on them grows at its end. Made of character
 * codes in one step: a string that is put together of parts is copied again by whoever looks it up first.
 */

const digits = Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0))
const pool = new Uint8Array(10 * 256)
let at = pool.length

const codes = new Array<number>(36).fill("-".charCodeAt(0))
/** the milliseconds whose digits stand in `codes` */
let written = Number.NaN

const put = (place: number, byte: number): void => {
  codes[place] = digits[byte >> 4]!
  codes[place + 1] = digits[byte & 15]!
}

/** @internal */
export const uuidV7 = (millis: number): string => {
  if (at === pool.length) {
    globalThis.crypto.getRandomValues(pool)
    at = 0
  }
  if (millis !== written) {
    const time = Math.max(0, Math.floor(millis)).toString(16).padStart(12, "0")
    for (let i = 0; i < 12; i++) codes[i < 8 ? i : i + 1] = time.charCodeAt(i)
    written = millis
  }
  codes[14] = digits[7]!
  codes[15] = digits[pool[at]! & 15]!
  put(16, pool[at + 1]!)
  put(19, pool[at + 2]! & 0x3f | 0x80)
  put(21, pool[at + 3]!)
  for (let i = 0; i < 6; i++) put(24 + 2 * i, pool[at + 4 + i]!)
  at += 10
  return String.fromCharCode.apply(undefined, codes)
}
