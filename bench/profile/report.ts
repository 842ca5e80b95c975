/** What `npm run bench:profile -- --write` found (`profile.json`), as a section of docs/performance.md. */
import { table } from "../layersReport.ts"
import { type Part, parts } from "./parts.ts"

/** One cell; microseconds of one job. */
export interface Profiled {
  readonly title: string
  readonly jobs: number
  readonly server?: number | undefined
  readonly micros: { readonly [P in Part]?: number }
}

export interface Profiles {
  readonly node: string
  readonly cells: ReadonlyArray<Profiled>
}

const show = (micros: number) => micros >= 10 ? micros.toFixed(0) : micros >= 0.05 ? micros.toFixed(1) : ""

export const profileSections = (found: Profiles | undefined): Readonly<Record<string, string>> => {
  if (found === undefined) return { profiles: "Not written down yet: `npm run bench:profile -- --write`." }
  const row = (title: string, of: (cell: Profiled) => number | undefined) => [
    title,
    ...found.cells.map((cell) => show(of(cell) ?? 0))
  ]
  return {
    profiles: table(["µs a job", ...found.cells.map(({ title }) => title)], [
      ...parts.map((part) => row(part, ({ micros }) => micros[part])),
      row("**the process, all of it**", ({ micros }) => parts.reduce((sum, part) => sum + (micros[part] ?? 0), 0)),
      row("it waits", ({ micros }) => micros.idle),
      row("**the server's processes**", ({ server }) => server)
    ])
  }
}
