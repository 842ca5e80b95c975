/**
 * What is stored of a job, between the arguments of the script and what a claim reads: heads of jobs are remembered from
 * one to the next, and must not be taken for those of another job.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Envelope, Item } from "windlass/Backend"
import * as Record from "../../src/backends/redis/record.ts"

const envelope = (id: string, rest: Partial<Envelope> = {}): Envelope => ({
  id,
  task: "T",
  version: 1,
  payload: `{"of":"${id}"}`,
  headers: {},
  origin: "user",
  ...rest
})

/** each differs from the one before it in one thing, or in nothing */
const envelopes = [
  envelope("a"),
  envelope("b"),
  envelope("c", { task: "U" }),
  envelope("d", { task: "T\nU", payload: "\n\n[1,\"user\"]\n" }),
  envelope("e", { version: 2 }),
  envelope("f", { version: 2, origin: "cron" }),
  envelope("g", { version: 2, origin: "cron", headers: { trace: "1" } }),
  envelope("h", { version: 2, origin: "cron", headers: { trace: "2" } }),
  envelope("i", { version: 2, origin: "cron" }),
  envelope("j", { payload: "" })
]

const argsOf = (items: ReadonlyArray<Item>): ReadonlyArray<string> => {
  const args: Array<string> = []
  Record.write(items, args)
  return args
}

describe("records of redis", () => {
  it("plain jobs are two arguments each, and are read as they were written, one after another and each again", () => {
    const [width, ...args] = argsOf(envelopes.map((envelope) => ({ envelope })))
    assert.strictEqual(width, "2")
    assert.strictEqual(args.length, 2 * envelopes.length)
    for (let n = 0; n < envelopes.length * 2; n++) {
      const i = n >> 1
      assert.strictEqual(args[2 * i], envelopes[i]!.id)
      const record = Record.read(args[2 * i]!, `p${n} 1700000000000 0 0 -1\n\n${args[2 * i + 1]}`)
      assert.deepStrictEqual(record, {
        envelope: envelopes[i]!,
        plain: true,
        num: n,
        enqueued: 1_700_000_000_000,
        scheduledFor: undefined,
        priority: 0,
        keepsResult: false,
        group: undefined,
        uniqueKey: undefined
      })
    }
  })

  it("no delivery shares its headers with another", () => {
    const [, id, text] = argsOf([{ envelope: envelope("a") }])
    const [one, two] = [1, 2].map((num) => Record.read(id!, `p${num} 1 0 0 -1\n\n${text}`).envelope.headers)
    assert.notStrictEqual(one, two)
  })

  it("whatever is asked for, for one job of a batch, takes four arguments for each", () => {
    const asked: ReadonlyArray<Omit<Item, "envelope">> = [
      { due: { _tag: "After", millis: 5 } },
      { due: { _tag: "At", time: 5 } },
      { priority: 3 },
      { keepResult: 0 },
      { group: "g" },
      { unique: { key: "k", until: "finished" } }
    ]
    for (const options of asked) {
      const args = argsOf([{ envelope: envelope("a") }, { envelope: envelope("b"), ...options }])
      assert.strictEqual(args[0], "4")
      assert.strictEqual(args.length, 9)
      assert.strictEqual(args[2], "0 -1 +0")
    }
    assert.strictEqual(argsOf([{ envelope: envelope("a"), priority: 0 }])[0], "2")
  })

  it("numbers with a sign and all marks are read", () => {
    const item: Item = { envelope: envelope("a"), group: "g", unique: { key: "k", until: "finished" } }
    const [, , , own, text] = argsOf([item])
    const record = Record.read("a", `x12 1700000000000 1700000000001 -32768 60000\n${own}\n${text}`)
    assert.deepInclude(record, {
      plain: false,
      num: 12,
      scheduledFor: 1_700_000_000_001,
      priority: 32_768,
      keepsResult: true,
      group: "g",
      uniqueKey: "k"
    })
    assert.strictEqual(Record.read("a", `x1 1 0 32767 0\n${own}\n${text}`).priority, -32_767)
  })
})
