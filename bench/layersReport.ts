/** What `npm run bench:layers -- --write` found (`layers.json`), as sections of docs/performance.md; empty before it was written. */
import { median, show } from "./results.ts"
import type { Target } from "./targets.ts"

interface Sample {
  /** microseconds a job */
  readonly cpu: number
  readonly wall: number
}

interface Job {
  readonly name: string
  readonly above?: string
  readonly target?: number
  readonly samples: ReadonlyArray<Sample>
  readonly more?: number
}

/** As far as it is read here. */
export interface Layers {
  readonly machine: string
  readonly peers?: ReadonlyArray<string>
  readonly rounds: number
  readonly concurrency: number
  readonly layers?: ReadonlyArray<{
    readonly name: string
    /** what a layer of this row is */
    readonly what?: string
    readonly target?: number
    readonly with: Readonly<Record<string, { readonly perLayer: Sample }>>
  }>
  readonly "a whole job"?: ReadonlyArray<Job>
  readonly tracing?: ReadonlyArray<Job>
  readonly memory?: { readonly waiting: number; readonly payload: number; readonly growth: number }
  readonly imports?: ReadonlyArray<{
    readonly name: string
    readonly files: number
    readonly modules: ReadonlyArray<string>
    readonly ours: ReadonlyArray<Sample>
    readonly effects: ReadonlyArray<Sample>
    readonly ratio: Sample
  }>
}

/** the first column is words, and the others are figures unless it says otherwise */
export const table = (
  head: ReadonlyArray<string>,
  rows: ReadonlyArray<ReadonlyArray<string>>,
  others: "figures" | "words" = "figures"
): string =>
  [head, head.map((_, n) => n === 0 || others === "words" ? "---" : "---:"), ...rows]
    .map((cells) => `| ${cells.join(" | ")} |`).join("\n")

const missing = "Not written down yet: `npm run bench:layers -- --write`."

const verdict = (value: number, target: number | undefined, unit: string): string =>
  target === undefined ? "" : `at most ${target} ${unit}: ${value <= target ? "reached" : "**not reached**"}`

/** what is near to nothing may be measured below it */
const micros = (value: number): string => value.toFixed(Math.abs(value) < 10 ? 2 : 1)

const layered = ({ layers = [] }: Layers): string => {
  const counts = Object.keys(layers[0]?.with ?? {})
  const judged = counts.includes("10") ? "10" : counts.at(-1)!
  const figures = table(
    ["µs a layer", ...counts.map((count) => count === "1" ? "1 layer" : `${count} layers`), "target"],
    layers.map(({ name, target, with: found }) => [
      name,
      ...counts.map((count) => micros(found[count]!.perLayer.cpu)),
      verdict(found[judged]!.perLayer.cpu, target, "µs")
    ])
  )
  const said = layers.filter(({ what }) => what !== undefined).map(({ name, what }) => `- ${name}: ${what}`)
  return said.length === 0 ? figures : `${figures}\n\n${said.join("\n")}`
}

const jobs = (rows: ReadonlyArray<Job>): string =>
  table(
    ["µs a job", "CPU", "time", "more", "target"],
    rows.map(({ above, more, name, samples, target }) => [
      name,
      micros(median(samples.map(({ cpu }) => cpu))),
      micros(median(samples.map(({ wall }) => wall))),
      above === undefined || more === undefined ? "" : `${micros(more)} above ${above}`,
      more === undefined ? "" : verdict(more, target, "µs")
    ])
  )

const imports = ({ imports = [] }: Layers): string =>
  table(
    ["ms of CPU", "files", "modules of Effect", "ours", "those modules alone", "ratio", "target"],
    imports.map(({ effects, files, modules, name, ours, ratio }) => [
      `\`${name}\``,
      String(files),
      String(modules.length),
      show(median(ours.map(({ cpu }) => cpu))),
      show(median(effects.map(({ cpu }) => cpu))),
      ratio.cpu.toFixed(2),
      verdict(ratio.cpu, 1.3, "x")
    ])
  )

const memory = ({ memory }: Layers): string => {
  if (memory === undefined) return missing
  const bytes = (figure: number) => Math.round(figure).toLocaleString("en")
  return table(["bytes of heap", ""], [
    ["10,000 jobs that wait in the memory engine", bytes(memory.waiting * 10_000)],
    ["of them the text of their payloads", bytes(memory.payload * 10_000)],
    ["left behind by 100,000 jobs that were processed", bytes(memory.growth * 100_000)]
  ])
}

const judge = (work: string, asked: string, value: number, most: number, unit: string): Target => ({
  work,
  asked,
  measured: `${micros(value)} ${unit}`.trim(),
  ratio: `${(value / most).toFixed(2)} x`,
  verdict: value <= most ? "reached" : "not reached"
})

/** The targets of one layer, of a whole job and of the import; none before it was measured. */
export const layerTargets = (found: Layers | undefined): ReadonlyArray<Target> => [
  ...(found?.layers ?? []).flatMap(({ name, target, with: counts }) =>
    target === undefined || counts["10"] === undefined
      ? []
      : [judge(`one of ten layers: ${name}`, `${target} µs`, counts["10"].perLayer.cpu, target, "µs")]
  ),
  ...(found?.["a whole job"] ?? []).flatMap(({ above, more, name, target }) =>
    target === undefined || more === undefined
      ? []
      : [judge(`a whole job: ${name}`, `${target} µs above ${above}`, more, target, "µs")]
  ),
  ...(found?.imports ?? []).map(({ name, ratio }) =>
    judge(`import of \`${name}\``, "1.3 x the modules of Effect that it names", ratio.cpu, 1.3, "x")
  )
]

export const layerSections = (found: Layers | undefined): Readonly<Record<string, string>> => ({
  layersRun: found === undefined
    ? missing
    : [
      `${found.machine}; ${found.rounds} rounds, ${found.concurrency} jobs at once; CPU of the whole process`,
      ...(found.peers ?? [])
    ].join(", ") + ".",
  layers: found?.layers === undefined ? missing : layered(found),
  jobs: found?.["a whole job"] === undefined ? missing : jobs(found["a whole job"]),
  tracing: found?.tracing === undefined ? missing : jobs(found.tracing),
  memoryOfJobs: found === undefined ? missing : memory(found),
  imports: found?.imports === undefined ? missing : imports(found)
})
