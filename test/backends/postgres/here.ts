/**
 * Suites that need the server: where there is none they are one test, whose name is told at the end of the run.
 */
import { assert, describe, it } from "vitest"
import { found } from "./server.ts"

export const onPostgres = (name: string, body: () => void, options: { readonly concurrent?: boolean } = {}): void => {
  if (typeof found === "string") {
    describe(`${name}`, () => {
      it(`not run here: ${found}`, () => assert.isNotEmpty(found))
    })
  } else if (options.concurrent === true) {
    describe.concurrent(`${name}`, () => {
      body()
    })
  } else {
    describe(`${name}`, () => {
      body()
    })
  }
}
