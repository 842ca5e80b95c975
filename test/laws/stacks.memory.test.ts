/** Random stacks and random exits on the memory backend. */
import { describe } from "@effect/vitest"
import { memory } from "./kit/backends.ts"
import { stacks } from "./stacks.ts"

describe("random stacks on memory", () => {
  stacks("memory", memory)
})
