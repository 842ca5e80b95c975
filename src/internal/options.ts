/** The options of an enqueue as data: what the combinators set and the enqueue point reads. */
import type { Due, Origin, Uniqueness } from "../Backend.ts"

/** @internal */
export interface Options {
  readonly due?: Due
  readonly priority?: number
  readonly unique?: {
    readonly key: (payload: any) => string
    readonly until: Uniqueness["until"]
    readonly onConflict: "fail" | "existing"
  }
  readonly group?: string
  readonly groupLimit?: number | undefined
  readonly headers?: Readonly<Record<string, string>>
  readonly id?: (payload: any, index: number) => string
  readonly queue?: string
  readonly atomic?: boolean
  readonly origin?: Origin
  /** milliseconds */
  readonly keepResult?: number
}

/** Later options win; headers are joined. @internal */
export const merge = (self: Options, that: Options): Options => ({
  ...self,
  ...that,
  ...(self.headers !== undefined && that.headers !== undefined ? { headers: { ...self.headers, ...that.headers } } : {})
})
