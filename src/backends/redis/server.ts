/**
 * What the server must be, looked at once: of a version that has the commands, a primary; and what it should be.
 *
 * @since 0.1.0
 */
import * as Effect from "effect/Effect"
import type { BackendError } from "../../Backend.ts"
import type { Calls } from "./calls.ts"
import { refusal } from "./errors.ts"

export interface Server {
  readonly cluster: boolean
}

const fieldsOf = (info: string): ReadonlyMap<string, string> =>
  new Map(
    info.split(/\r?\n/).flatMap((line) => {
      const at = line.indexOf(":")
      return line.startsWith("#") || at < 1 ? [] : [[line.slice(0, at), line.slice(at + 1)] as const]
    })
  )

/** before 6.2 there is no `SMISMEMBER` */
const isOld = (version: string): boolean => {
  const [major, minor] = version.split(".").map(Number)
  return major! < 6 || (major === 6 && minor! < 2)
}

/** `undefined`: fit for use */
export const serverRefused = (info: string): string | undefined => {
  const fields = fieldsOf(info)
  const version = fields.get("redis_version")
  if (version !== undefined && isOld(version)) {
    return `the server is Redis ${version}: 6.2 or later is needed, or Valkey`
  }
  if (fields.get("role") === "slave") {
    return `the server is a replica and takes no writes: connect to its primary, ${fields.get("master_host")}:${
      fields.get("master_port")
    }`
  }
  return undefined
}

export const serverWarnings = (info: string, save: string | undefined): ReadonlyArray<string> => {
  const fields = fieldsOf(info)
  const warnings: Array<string> = []
  const policy = fields.get("maxmemory_policy")
  if (policy !== undefined && policy !== "noeviction") {
    warnings.push(
      `the server's maxmemory-policy is ${policy}: when its memory is full it deletes ${
        policy.startsWith("volatile") ? "seats of leaders" : "jobs"
      }; set it to noeviction`
    )
  }
  if (fields.get("aof_enabled") === "0") {
    warnings.push(
      save === ""
        ? `the server keeps nothing on disk (appendonly no, no save points): a restart loses all jobs; set appendonly yes`
        : `the server's appendonly is off: a crash loses what was stored since the last snapshot; set appendonly yes`
    )
  }
  return warnings
}

/** the one value of an answer to CONFIG GET, in whichever form the client gives it */
const configOf = (answer: unknown): string | undefined => {
  const values = answer instanceof Map
    ? Array.from(answer.values())
    : Array.isArray(answer)
    ? answer.slice(1)
    : typeof answer === "object" && answer !== null
    ? Object.values(answer)
    : []
  return typeof values[0] === "string" ? values[0] : undefined
}

export const check = Effect.fnUntraced(function*(calls: Calls): Effect.fn.Return<Server, BackendError> {
  const info = String(yield* calls.send<string>("open", "INFO"))
  const refused = serverRefused(info)
  if (refused !== undefined) return yield* refusal(calls.name, "open", refused)
  const [seconds, micros] = yield* calls.send<readonly [string, string]>("open", "TIME")
  calls.clockSeen(Number(seconds) * 1000 + Math.floor(Number(micros) / 1000))
  // many a hosted server does not say
  const save = yield* calls.send("open", "CONFIG", "GET", "save").pipe(
    Effect.map(configOf),
    Effect.orElseSucceed(() => undefined)
  )
  for (const warning of serverWarnings(info, save)) yield* Effect.logWarning(`windlass: ${calls.name}: ${warning}`)
  return { cluster: fieldsOf(info).get("cluster_enabled") === "1" }
})
