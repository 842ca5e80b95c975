/** Addresses with parameters: what they cover, and which of several is the one. */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { format, InvalidAddress, match, parse, relate, table } from "../../src/bus/internal/address.ts"

const refuses = (run: () => unknown, ...words: ReadonlyArray<string>) => {
  try {
    run()
  } catch (error) {
    if (!(error instanceof InvalidAddress)) throw error
    for (const word of words) assert.include(error.message, word)
    return
  }
  assert.fail("it was not refused")
}

const find = (...addresses: ReadonlyArray<string>) => table(addresses.map((text) => [parse(text), text]))

describe("an address", () => {
  it("has several parameters, with texts around them, and either separator", () => {
    const address = parse("orders.{region}/v-{id}.json")
    assert.deepStrictEqual(address.parameters, ["region", "id"])
    assert.deepStrictEqual(match(address, "orders.eu/v-12.json"), { region: "eu", id: "12" })
    assert.strictEqual(format(address, { region: "eu", id: "12" }), "orders.eu/v-12.json")
  })

  it("covers nothing with an empty parameter, another separator, or one segment more or less", () => {
    const address = parse("orders.{region}.{id}")
    for (const concrete of ["orders..1", "orders.eu/1", "orders.eu", "orders.eu.1.2", "order.eu.1", ""]) {
      assert.isUndefined(match(address, concrete), concrete)
    }
  })

  it("a parameter takes no separator of its own: the address says where it ends", () => {
    assert.isUndefined(match(parse("orders.{id}"), "orders.eu.1"))
  })

  it("refuses what is malformed, by its name", () => {
    refuses(() => parse(""), "needs a name")
    refuses(() => parse("a..b"), "empty segment")
    refuses(() => parse(".a"), "empty segment")
    refuses(() => parse("a.{x}{y}"), "{x}{y}", "between two parameters")
    refuses(() => parse("a.{x}-{y}"), "between two parameters")
    refuses(() => parse("a.{x"), "neither a text")
    refuses(() => parse("a.x}"), "neither a text")
    refuses(() => parse("a.{}"), "no name of a parameter")
    refuses(() => parse("a.{x.y}"), "no name of a parameter")
    refuses(() => parse("a.{x}.{x}"), "{x} stands twice")
    refuses(() => format(parse("a.{x}"), { x: "" }), "{x} is empty")
    refuses(() => format(parse("a.{x}"), {}), "{x} is empty")
  })

  it("finds every value again that was put into it, separators and braces included", () => {
    const address = parse("a.{x}/p{y}q.{z}")
    let special = 0
    fc.assert(
      fc.property(
        fc.string({ minLength: 1 }),
        fc.string({ minLength: 1 }),
        fc.constantFrom("a.b", "50%", "%2E", "{x}", "/"),
        (
          x,
          y,
          z
        ) => {
          if (/[./%{}]/.test(x + y)) special++
          assert.deepStrictEqual(match(address, format(address, { x, y, z })), { x, y, z })
        }
      ),
      { numRuns: 500 }
    )
    assert.isAbove(special, 20)
  })
})

describe("of several that cover an address", () => {
  it("the exact one is taken, then the most specific, in whatever order they were registered", () => {
    const addresses = [
      "orders.{region}.{id}",
      "orders.eu.{id}",
      "orders.eu.12",
      "orders.eu.x{id}",
      "{any}.{region}.{id}"
    ]
    const expected = {
      "orders.eu.12": "orders.eu.12",
      "orders.eu.13": "orders.eu.{id}",
      "orders.eu.x1": "orders.eu.x{id}",
      "orders.us.12": "orders.{region}.{id}",
      "bills.us.12": "{any}.{region}.{id}",
      "bills.us": undefined
    }
    for (const order of [addresses, addresses.toReversed(), [...addresses.slice(2), ...addresses.slice(0, 2)]]) {
      for (const [concrete, address] of Object.entries(expected)) {
        assert.strictEqual(find(...order)(concrete)?.value, address, concrete)
      }
    }
  })

  it("two of which neither is the more specific are refused, and so are two that cover the same", () => {
    refuses(() => find("a.{x}.c", "a.b.{y}"), "a.{x}.c", "a.b.{y}", "neither is the more specific")
    refuses(() => find("a.x{p}", "a.{p}y"), "neither is the more specific")
    refuses(() => find("a.{x}", "a.{y}"), "covers the same addresses")
    refuses(() => find("a", "a"), "covers the same addresses")
    assert.isDefined(find("a.{x}.c", "b.{y}.c", "a.{x}/c", "a.{x}"))
  })

  it("a set is refused, or has one answer for every address that does not depend on the order", () => {
    const segment = fc.constantFrom("a", "b", "ab", "{p}", "a{p}", "{p}b")
    const address = fc.array(segment, { minLength: 1, maxLength: 3 }).map((parts) =>
      parts.map((part, i) => part.replace("p", `p${i}`)).join(".")
    )
    const word = fc.constantFrom("a", "b", "ab", "aab", "abb", "c")
    const counts = { refused: 0, one: 0, several: 0, none: 0 }
    fc.assert(
      fc.property(
        fc.array(address, { minLength: 1, maxLength: 5 }),
        fc.array(word, { minLength: 1, maxLength: 3 }),
        (addresses, words) => {
          const concrete = words.join(".")
          const all = addresses.map(parse)
          const covering = all.filter((one) => match(one, concrete) !== undefined)
          let found
          try {
            found = find(...addresses)(concrete)
          } catch (error) {
            assert.instanceOf(error, InvalidAddress)
            counts.refused++
            return
          }
          counts[covering.length === 0 ? "none" : covering.length === 1 ? "one" : "several"]++
          assert.strictEqual(find(...addresses.toReversed())(concrete)?.value, found?.value)
          assert.strictEqual(found === undefined, covering.length === 0)
          // whatever else covers it covers all that the chosen one covers
          const chosen = all.find((one) => one.text === found?.value)
          for (const other of covering) {
            if (other.text !== chosen!.text) assert.strictEqual(relate(chosen!, other), "inside")
          }
        }
      ),
      { numRuns: 10_000 }
    )
    for (const [kind, count] of Object.entries(counts)) assert.isAbove(count, 30, kind)
  })
})
