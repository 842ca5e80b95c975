/** Whose time a sample of a processor profile is: by the file and the name of the function that was running. */

/** of a `.cpuprofile`, as far as it is read here */
export interface Frame {
  readonly functionName: string
  readonly url: string
}

export interface Profile {
  readonly nodes: ReadonlyArray<{ readonly id: number; readonly callFrame: Frame }>
  readonly samples: ReadonlyArray<number>
  /** microseconds between a sample and the one before */
  readonly timeDeltas: ReadonlyArray<number>
}

/** in the order of the table; what `idle` has is no work */
export const parts = [
  "Effect: fibers, steps, exits",
  "Effect: contexts",
  "Effect: decoding and encoding by the schema",
  "Effect: the rest",
  "JSON, codecs",
  "Windlass: the producer",
  "Windlass: the worker",
  "Windlass: layers, hooks, observers",
  "Windlass: the backend",
  "the engine's client",
  "the engine itself",
  "Node: sockets, streams, timers",
  "outside of JavaScript",
  "garbage collection",
  "the bench, its handler"
] as const

export type Part = typeof parts[number] | "idle"

/** functions of V8 and of Node's own C++ have no file */
const native: Readonly<Record<string, Part>> = {
  "(idle)": "idle",
  "(garbage collector)": "garbage collection",
  // what a schema was compiled to: nothing else makes code at run time
  "": "Effect: decoding and encoding by the schema",
  anonymous: "Effect: decoding and encoding by the schema",
  parse: "JSON, codecs",
  stringify: "JSON, codecs",
  // of a statement of `node:sqlite`
  run: "the engine itself",
  all: "the engine itself",
  get: "the engine itself",
  exec: "the engine itself",
  iterate: "the engine itself",
  // of a socket
  writev: "Node: sockets, streams, timers",
  writeBuffer: "Node: sockets, streams, timers",
  writeUtf8String: "Node: sockets, streams, timers",
  writeLatin1String: "Node: sockets, streams, timers"
}

const chain = "(call|chain|finalize|gates|hooked|layer|observe|resolve)\\.(ts|js)$"

/** the first that fits */
const files: ReadonlyArray<readonly [RegExp, Part]> = [
  [/\/bench\//, "the bench, its handler"],
  [
    /\/node_modules\/effect\/dist\/(Schema|schema\/Schema|internal\/schema|Option|Struct|Predicate)/,
    "Effect: decoding and encoding by the schema"
  ],
  [/\/node_modules\/effect\/dist\/(internal\/)?Context\./, "Effect: contexts"],
  [
    /\/node_modules\/effect\/dist\/(internal\/(core|effect|fiber|schedule|tracer)|Effect|Exit|Fiber|Scheduler|Scope|Latch)\./,
    "Effect: fibers, steps, exits"
  ],
  [/\/node_modules\/effect\//, "Effect: the rest"],
  [/\/node_modules\//, "the engine's client"],
  [new RegExp(`/src/internal/(lean\\.ts|middleware/|worker/${chain})`), "Windlass: layers, hooks, observers"],
  [/\/src\/middleware\/|\/src\/Middleware\./, "Windlass: layers, hooks, observers"],
  [/\/src\/internal\/(worker|cron|graph)\//, "Windlass: the worker"],
  // V8 counts what is built in with who calls it
  [/\/src\/internal\/codecs\./, "JSON, codecs"],
  [/\/src\/backends\//, "Windlass: the backend"],
  [/\/src\//, "Windlass: the producer"],
  [/^node:/, "Node: sockets, streams, timers"]
]

export const partOf = ({ functionName, url }: Frame): Part =>
  url === ""
    ? native[functionName] ?? "outside of JavaScript"
    : files.find(([pattern]) => pattern.test(url))?.[1] ?? "outside of JavaScript"

/** microseconds by part, and of all functions by name, the longest first */
export const sorted = (profile: Profile) => {
  const frames = new Map(profile.nodes.map(({ callFrame, id }) => [id, callFrame]))
  const byPart = new Map<Part, number>()
  const byFunction = new Map<string, number>()
  const add = <K>(to: Map<K, number>, key: K, micros: number) => to.set(key, (to.get(key) ?? 0) + micros)
  profile.samples.forEach((sample, n) => {
    const frame = frames.get(sample)!
    // a sample stands for the time until the next one
    const micros = profile.timeDeltas[n + 1] ?? 0
    add(byPart, partOf(frame), micros)
    add(byFunction, `${frame.functionName || "(anonymous)"} ${frame.url.split("/").slice(-2).join("/")}`, micros)
  })
  return { byPart, byFunction: [...byFunction].toSorted(([, a], [, b]) => b - a) }
}
