/** Random stacks and random exits on the SQLite backend. */
import { describe } from "@effect/vitest"
import { sqlite } from "./kit/backends.ts"
import { stacks } from "./stacks.ts"

describe("random stacks on SQLite", () => {
  stacks("sqlite", sqlite)
})
