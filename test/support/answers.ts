/**
 * Servers that some tests need and a machine may not have: what cannot be had is named in the output and left out, and is a
 * failure in CI.
 */
import { Missing } from "./services.ts"

/** what `load` gives, or `undefined` when the server that it needs cannot be had */
export const ifItAnswers = async <A>(load: () => Promise<A>): Promise<A | undefined> => {
  try {
    return await load()
  } catch (error) {
    if (!(error instanceof Missing) || (process.env["CI"] ?? "") !== "") throw error
    process.stdout.write(`not run here: ${error.message}\n`)
    return undefined
  }
}
