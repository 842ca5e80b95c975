/** What the workers of a program are told once: what a worker is told itself replaces it, setting by setting. */
import * as Context from "effect/Context"
import type { Options } from "../../Worker.ts"

/** @internal */
export interface Defaults extends Omit<Options, "id" | "gates" | "crons"> {
  /** what the middleware of the defaults needs, as it was where they were given */
  readonly context?: Context.Context<never> | undefined
}

/** @internal */
export const CurrentDefaults: Context.Reference<Defaults> = Context.Reference<Defaults>("windlass/Worker/Defaults", {
  defaultValue: () => ({})
})

/** A setting that is left open is no setting. @internal */
export const given = <A extends object>(settings: A): A =>
  Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined)) as A

/** Options over the defaults, and the services that a list of the defaults brings along. @internal */
export const over = (
  options: Options,
  context: Context.Context<never>
): { readonly options: Options; readonly context: Context.Context<never> } => {
  const { context: theirs, ...defaults } = Context.get(context, CurrentDefaults)
  return {
    options: { ...defaults, ...given(options) },
    context: options.middleware === undefined && theirs !== undefined ? Context.merge(theirs, context) : context
  }
}
