import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import type { Item } from "windlass/Backend"
import { Chain, type Link } from "../../src/backends/memory/chain.ts"
import { Heap } from "../../src/backends/memory/heap.ts"
import { Job } from "../../src/backends/memory/job.ts"
import { JobQueue } from "../../src/backends/memory/jobQueue.ts"
import { Outbox } from "../../src/backends/memory/outbox.ts"
import { Ready } from "../../src/backends/memory/ready.ts"

// the structures under the memory engine, against a list that is looked through

const settings = { lease: 1000, keepFailures: 0, keepSuccesses: 0 }

describe("the memory backend's structures", () => {
  it("a heap gives the smallest first, and lets go of any", () => {
    fc.assert(fc.property(
      fc.array(fc.record({ add: fc.boolean(), value: fc.integer({ min: 0, max: 50 }), pick: fc.nat() }), {
        maxLength: 200
      }),
      (commands) => {
        interface Node {
          readonly value: number
          timeSlot: number
        }
        const heap = new Heap<Node, "timeSlot">("timeSlot", (a, b) => a.value < b.value)
        const list: Array<Node> = []
        for (const { add, pick, value } of commands) {
          if (add || list.length === 0) {
            const node = { value, timeSlot: -1 }
            heap.add(node)
            list.push(node)
          } else {
            const [node] = list.splice(pick % list.length, 1)
            heap.remove(node!)
            assert.isFalse(heap.has(node!))
            heap.remove(node!)
          }
          assert.strictEqual(heap.size, list.length)
          assert.strictEqual(heap.first()?.value, list.length === 0 ? undefined : Math.min(...list.map((n) => n.value)))
          for (const node of list) assert.isTrue(heap.has(node))
        }
        const rest = list.map((node) => node.value).toSorted((a, b) => a - b)
        assert.deepStrictEqual(rest.map(() => heap.pop()!.value), rest)
        assert.isUndefined(heap.pop())
      }
    ))
  })

  it("a chain is a list, from both ends and in the middle", () => {
    fc.assert(fc.property(
      fc.array(fc.record({ kind: fc.constantFrom("append", "prepend", "after", "remove"), pick: fc.nat() }), {
        maxLength: 100
      }),
      (commands) => {
        interface Node extends Link<Node> {
          readonly name: number
        }
        const chain = new Chain<Node>()
        const list: Array<Node> = []
        commands.forEach(({ kind, pick }, name) => {
          const node: Node = { name, previous: undefined, next: undefined }
          const at = list.length === 0 ? 0 : pick % list.length
          if (kind === "append") {
            chain.append(node)
            list.push(node)
          } else if (kind === "prepend") {
            chain.prepend(node)
            list.unshift(node)
          } else if (kind === "after") {
            chain.insertAfter(list[at], node)
            list.splice(list.length === 0 ? 0 : at + 1, 0, node)
          } else if (list.length > 0) {
            chain.remove(list[at]!)
            list.splice(at, 1)
          }
          const forth: Array<number> = []
          for (let n = chain.first; n !== undefined; n = n.next) forth.push(n.name)
          const back: Array<number> = []
          for (let n = chain.last; n !== undefined; n = n.previous) back.push(n.name)
          assert.deepStrictEqual(forth, list.map((n) => n.name))
          assert.deepStrictEqual(back, forth.toReversed())
        })
      }
    ))
  })

  it("the ready jobs come by priority, then by position, wherever they joined", () => {
    fc.assert(fc.property(
      fc.array(
        fc.record({
          kind: fc.constantFrom("add", "add", "take", "remove"),
          priority: fc.integer({ min: -2, max: 2 }),
          position: fc.integer({ min: -1000, max: 1000 }),
          pick: fc.nat()
        }),
        { maxLength: 200, size: "max" }
      ),
      (commands) => {
        const queue = new JobQueue("q", settings, new Outbox())
        const ready = new Ready()
        const list: Array<Job> = []
        let n = 0
        const order = (a: Job, b: Job) => b.priority - a.priority || a.position - b.position
        for (const { kind, pick, position, priority } of commands) {
          if (kind === "add") {
            const item: Item = {
              envelope: { id: `${++n}`, task: "T", version: 1, payload: "", headers: {}, origin: "user" },
              priority
            }
            const job = new Job(queue, item, undefined, 0, undefined)
            job.position = position + n / 1000
            ready.add(job)
            list.push(job)
          } else if (kind === "take") {
            const best = list.toSorted(order)[0]
            assert.strictEqual(ready.take(), best)
            if (best !== undefined) list.splice(list.indexOf(best), 1)
          } else if (list.length > 0) {
            const [job] = list.splice(pick % list.length, 1)
            ready.remove(job!)
          }
          assert.strictEqual(ready.size, list.length)
        }
        assert.deepStrictEqual(list.map(() => ready.take()!.id), list.toSorted(order).map((job) => job.id))
        assert.isUndefined(ready.take())
      }
    ))
  })

  it("leases stand in the order in which they end, also when the clock was set back", () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 100 }), { maxLength: 50, size: "max" }), (times) => {
      const queue = new JobQueue("q", settings, new Outbox())
      const owner = { worker: "w", abort: () => {} }
      times.forEach((now, i) => {
        const item: Item = {
          envelope: { id: `${i}`, task: "T", version: 1, payload: "", headers: {}, origin: "user" }
        }
        queue.enter(new Job(queue, item, undefined, now, undefined), undefined, now)
        const job = queue.claim(owner, i, now)!
        if (i % 3 === 0) queue.extend(job, now + 1)
      })
      const ends: Array<number> = []
      for (let job = queue.leases.first; job !== undefined; job = job.next) ends.push(job.leaseEnd)
      assert.deepStrictEqual(ends, ends.toSorted((a, b) => a - b))
      assert.strictEqual(ends.length, times.length)
    }))
  })
})
