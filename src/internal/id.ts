/**
 * Job ids: UUIDv7, so that they sort by the time they were made and an index on them grows at its end. Those of one
 * millisecond are counted (RFC 9562, section 6.2), for a batch that is sorted already is cheaper to sort and to store.
 * Made of character codes in one step: a string that is put together of parts is copied again by whoever looks it up first.
 */

const digits = Array.from("0123456789abcdef", (digit) => digit.charCodeAt(0))
const pool = new Uint8Array(10 * 256)
let at = pool.length

const codes = new Array<number>(36).fill("-".charCodeAt(0))
/** the milliseconds whose digits stand in `codes` */
let written = Number.NaN
/** of the ids of that millisecond: 18 bits, which begin anywhere in their lower half */
let count = 0

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
    count = (pool[at]! << 16 | pool[at + 1]! << 8 | pool[at + 2]!) & 0x1ffff
  } else {
    count = count + 1 & 0x3ffff
  }
  codes[14] = digits[7]!
  codes[15] = digits[count >> 14]!
  put(16, count >> 6 & 0xff)
  put(19, count & 0x3f | 0x80)
  put(21, pool[at + 3]!)
  for (let i = 0; i < 6; i++) put(24 + 2 * i, pool[at + 4 + i]!)
  at += 10
  return String.fromCharCode.apply(undefined, codes)
}
