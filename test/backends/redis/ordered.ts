/**
 * A Redis that tells in which order the server ran the scripts, whatever connection they came by: the same scripts, each
 * inside of one that counts.
 */
import { assert } from "@effect/vitest"
import * as Effect from "effect/Effect"
import type { Redis } from "effect/persistence/Redis"
import { createHash } from "node:crypto"
import { scripts } from "../../../src/backends/redis/scripts.ts"

interface Counting {
  readonly name: string
  /** the script, or its hash */
  readonly is: string
}

const allowed = "local moves = 1000\n"

/** by text and by hash; scripts that give or take back at most so many turns */
const counting = (moves: number): ReadonlyMap<string, Counting> =>
  new Map(
    Object.entries(scripts).flatMap(([name, { lua, sha }]) => {
      if (name === "publish") assert.include(lua, allowed)
      const whole = `local function run()\n${lua.replace(allowed, `local moves = ${moves}\n`)}\nend\n` +
        `local answer = run()\nreturn { redis.call('INCR', ARGV[1] .. ':order'), answer }`
      return [
        [lua, { name, is: whole }],
        [sha, { name, is: createHash("sha1").update(whole).digest("hex") }]
      ]
    })
  )

const usual = counting(1_000)
const tight = counting(1)

/** `ran`: what the server ran, and as how manieth; `tightly`: a script gives or takes back one turn at most */
export const inOrder = (
  redis: Redis["Service"],
  tightly: boolean,
  ran: (script: string, place: number) => void
): Redis["Service"] => ({
  ...redis,
  send: <A>(command: string, ...args: ReadonlyArray<string>) => {
    const script = command.startsWith("EVAL") ? (tightly ? tight : usual).get(args[0]!) : undefined
    return script === undefined
      ? redis.send<A>(command, ...args)
      : Effect.map(
        redis.send<readonly [place: number, answer: A]>(command, script.is, ...args.slice(1)),
        ([place, answer]) => {
          ran(script.name, place)
          return answer
        }
      )
  }
})
