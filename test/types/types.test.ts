/**
 * One test a fixture: see harness.ts.
 */
import { assert, describe, it } from "vitest"
import { checkFixtures, judge } from "./harness.ts"

const fixtures = await checkFixtures()

describe("what the compiler says", () => {
  it("is asked of at least one fixture", () => {
    assert.isAbove(fixtures.length, 0)
  })
  for (const fixture of fixtures) {
    it(`${fixture.name} (${fixture.file})`, () => {
      assert.deepStrictEqual(fixture.problems, [])
    })
  }
})

describe("the harness itself", () => {
  const diagnostic = { file: "f.ts", line: 3, code: "TS2322", message: "Type 'a' is not\n  assignable" }
  const lines = (...text: ReadonlyArray<string>) => ["// test: a name", ...text].join("\n")

  it("accepts an expected error with its code and a folded text", () => {
    const source = lines("// expect-error TS2322: is not assignable", "const x = 1")
    assert.deepStrictEqual(judge("f.ts", source, [diagnostic]).problems, [])
  })

  it("reports an expected error that is missing", () => {
    const source = lines("// expect-error TS2322: is not assignable", "const x = 1")
    assert.include(judge("f.ts", source, []).problems.join(), "line 3 should not compile")
  })

  it("reports an error with another code, and one with another text", () => {
    assert.lengthOf(judge("f.ts", lines("// expect-error TS1: assignable", "x"), [diagnostic]).problems, 2)
    assert.lengthOf(judge("f.ts", lines("// expect-error something else", "x"), [diagnostic]).problems, 2)
  })

  it("reports an error that nobody expected", () => {
    assert.include(judge("f.ts", lines("", "x"), [diagnostic]).problems.join(), "unexpected: line 3: TS2322")
  })

  it("asks for the name of the test, and for an expectation that says something", () => {
    assert.include(judge("f.ts", "const x = 1", []).problems.join(), "its first line")
    assert.include(judge("f.ts", lines("// expect-error ", "x"), [diagnostic]).problems.join(), "neither a code")
  })
})
