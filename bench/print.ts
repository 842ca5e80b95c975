/** Tables for the terminal. */
import type { Engine } from "./contender.ts"
import { type At, isTime, type Measure, median, type Row, show } from "./results.ts"
import type { Target } from "./targets.ts"

const title = (engine: Engine, measure: Measure, at: At): string => {
  switch (measure) {
    case "enqueue":
      return `${engine}: enqueue, ${at === 1 ? "one by one" : `${at} in flight`}`
    case "bulk":
      return `${engine}: enqueue, 1,000 in a call`
    case "process":
      return `${engine}: process, ${at === "best" ? "as fast as it goes" : `${at} at once`}`
    case "through":
      return `${engine}: end to end, 100 in flight, ${at} at once`
    case "latency":
      return `${engine}: latency when idle`
    case "scale":
      return `${engine}: process, ${at === 1 ? "1 process" : `${at} processes`}, 50 at once in each`
    case "backlog":
      return `${engine}: from one job to the next, one at a time, with so many waiting`
  }
}

export const printRows = (engine: Engine, measure: Measure, at: At, rows: ReadonlyArray<Row>): void => {
  const first = rows.find(({ figures }) => figures.length > 0)
  const base = first === undefined ? undefined : median(first.figures)
  const time = isTime(measure)
  console.log(`\n${title(engine, measure, at)} (${time ? "milliseconds" : "jobs a second"})`)
  console.table(Object.fromEntries(rows.map((row) => {
    const name = measure === "backlog" ? `${row.name}: ${row.at}` : row.name
    if (row.figures.length === 0) return [name, { failed: row.failed }]
    const middle = median(row.figures)
    const cells = (some: Readonly<Record<string, number | undefined>>) =>
      Object.fromEntries(
        Object.entries(some).flatMap(([key, value]) => value === undefined ? [] : [[key, show(value)]])
      )
    return [name, {
      median: show(middle),
      spread: `${show(Math.min(...row.figures))} .. ${show(Math.max(...row.figures))}`,
      ...cells({
        p95: row.p95,
        p99: row.p99,
        "cpu s / 10k": time ? undefined : row.cpu,
        "server s / 10k": time ? undefined : row.engineCpu,
        "MiB": row.resident
      }),
      "first is": base === undefined ? "" : `${(time ? middle / base : base / middle).toFixed(2)} x`
    }]
  })))
}

export const printTargets = (targets: ReadonlyArray<Target>): void => {
  const known = targets.filter(({ verdict }) => verdict !== "not measured")
  const left = targets.length - known.length
  if (known.length > 0) {
    console.log("\ntargets")
    console.table(known.map(({ asked, measured, ratio, verdict, work }) => ({ work, asked, measured, ratio, verdict })))
  }
  if (left > 0) console.log(`${left} targets need rows that this run does not have`)
}
