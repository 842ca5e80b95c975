import { assert, describe, it } from "@effect/vitest"
import { uuidV7 } from "../../src/internal/id.ts"

describe("job ids", () => {
  it("are UUIDs of version 7 and variant 1, with the milliseconds in front", () => {
    for (const millis of [0, 1, 1_700_000_000_000, 1_700_000_000_001.9, 2 ** 48 - 1]) {
      const id = uuidV7(millis)
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      assert.strictEqual(parseInt(id.slice(0, 8) + id.slice(9, 13), 16), Math.floor(millis))
    }
    assert.match(uuidV7(-1), /^00000000-0000-7/)
  })

  it("sort by their time, whatever the order in which they were made", () => {
    const times = [5, 3, 70_000, 3, 1_700_000_000_000, 256, 255]
    const ids = times.map((millis) => [millis, uuidV7(millis)] as const)
    const byId = ids.toSorted(([, a], [, b]) => a < b ? -1 : 1).map(([millis]) => millis)
    assert.deepStrictEqual(byId, times.toSorted((a, b) => a - b))
  })

  it("sort within a millisecond by the order in which they were made", () => {
    const ids = Array.from({ length: 100_000 }, () => uuidV7(1_700_000_000_000))
    assert.deepStrictEqual(ids.toSorted(), ids)
    assert.deepStrictEqual(Array.from(new Set(ids.map((id) => id[19]))).toSorted(), ["8", "9", "a", "b"])
  })

  it("differ within a millisecond, in every random digit, and begin anywhere", () => {
    const ids = Array.from({ length: 300_000 }, () => uuidV7(1_700_000_000_000))
    assert.strictEqual(new Set(ids).size, ids.length)
    const random = [21, 22, ...Array.from({ length: 12 }, (_, i) => 24 + i)]
    for (const place of random) assert.strictEqual(new Set(ids.map((id) => id[place])).size, 16, `digit ${place}`)
    const first = Array.from({ length: 1_000 }, (_, millis) => uuidV7(millis))
    for (const place of [16, 17, 20]) {
      assert.strictEqual(new Set(first.map((id) => id[place])).size, 16, `digit ${place}`)
    }
    assert.deepStrictEqual(Array.from(new Set(first.map((id) => id[15]))).toSorted(), [..."01234567"])
  })
})
