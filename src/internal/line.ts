/** An error in one line: for logs, for the history, and for who waits for a result. */
import { Died } from "../Job.ts"

/** @internal */
export const describe = (error: unknown): string => {
  if (error instanceof Died) return describe(error.defect)
  if (error instanceof Error) {
    const tag = (error as { readonly _tag?: unknown })._tag
    const name = typeof tag === "string" ? tag : error.name
    return error.message === "" ? name : `${name}: ${error.message}`
  }
  if (typeof error === "string") return error
  try {
    return JSON.stringify(error) ?? String(error)
  } catch {
    return String(error)
  }
}
