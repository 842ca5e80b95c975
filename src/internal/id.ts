/** Job ids: UUIDv7, so that they sort by the time they were made and an index on them grows at its end. */

const hex = Array.from({ length: 256 }, (_, i) => i.toString(16).padStart(2, "0"))
const pool = new Uint8Array(10 * 256)
let at = pool.length

/** @internal */
export const uuidV7 = (millis: number): string => {
  if (at === pool.length) {
    globalThis.crypto.getRandomValues(pool)
    at = 0
  }
  const time = Math.max(0, Math.floor(millis)).toString(16).padStart(12, "0")
  const r = pool.subarray(at, at += 10)
  const byte = (i: number) => hex[r[i]!]!
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-7${byte(0)[1]}${byte(1)}-${hex[(r[2]! & 0x3f) | 0x80]!}${byte(3)}-` +
    byte(4) + byte(5) + byte(6) + byte(7) + byte(8) + byte(9)
}
