/**
 * A Redis of which the scripts take the time from the test's clock: the same scripts, with the line that asks the server
 * for the time exchanged for one that reads a key, which is written before every script.
 */
import { assert } from "@effect/vitest"
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { Redis } from "effect/persistence/Redis"
import { scripts } from "../../../src/backends/redis/scripts.ts"

const asked = "local clock = call('TIME')"
const told = "local clock = { string.match(call('GET', CHANNEL .. ':clock'), '^(%d+) (%d+)$') }"

const clocked = new Map(
  Object.values(scripts).map(({ lua, sha }) => {
    assert.include(lua, asked)
    return [sha, lua.replace(asked, () => told)] as const
  })
)

export const onTestClock = (redis: Redis["Service"], prefix: string): Redis["Service"] => ({
  ...redis,
  send: <A>(command: string, ...args: ReadonlyArray<string>) => {
    const lua = command === "EVALSHA" ? clocked.get(args[0]!) : undefined
    return lua === undefined ?
      redis.send<A>(command, ...args) :
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        Effect.andThen(
          redis.send("SET", `{${prefix}}:hints:clock`, `${Math.floor(now / 1000)} ${(now % 1000) * 1000}`),
          redis.send<A>("EVAL", lua, ...args.slice(1))
        ))
  }
})
