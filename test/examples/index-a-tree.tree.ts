/** A tree of a few thousand files with everything that is awkward about trees, and what an index of it has to hold. */
import { execFileSync } from "node:child_process"
import * as Crypto from "node:crypto"
import * as Fs from "node:fs"
import * as Path from "node:path"

/** What the row of one file must say. */
export type Expected =
  | { readonly sha256: string; readonly bytes: number; readonly error: null }
  | {
    readonly sha256: null
    readonly bytes: number | null
    readonly error: "TooLarge" | "NotText" | "Unreadable" | "poison"
  }

const mebibyte = 1024 * 1024

/** Numbers that are the same in every run, for content and sizes. */
const random = (seed: number) => () => {
  seed = (seed * 1_664_525 + 1_013_904_223) >>> 0
  return seed / 2 ** 32
}

const write = (root: string, name: string, content: string | Uint8Array) => {
  const file = Path.join(root, name)
  Fs.mkdirSync(Path.dirname(file), { recursive: true })
  Fs.writeFileSync(file, content)
}

const names = [
  "with space.txt",
  "with\nline break.txt",
  "with 'quotes\" and `ticks`.txt",
  "-rf.txt",
  "%s?*[a].txt",
  "ünïcödé-e\u0301.md",
  "日本語.md",
  "עברית.txt",
  "👩‍👩‍👧.json",
  "\u001b[31mred.txt",
  "trailing dot.",
  ".hidden",
  "no-ending",
  "__proto__",
  "constructor.js",
  `${"long".repeat(60)}.txt`
]

export const grow = (root: string): void => {
  const next = random(7)
  const words = (n: number) => Array.from({ length: n }, () => next().toString(36).slice(2)).join("\n")
  for (let i = 0; i < 700; i++) write(root, `one directory/file ${i}.txt`, `${i}\n${words(Math.floor(next() * 40))}`)
  for (let i = 0; i < 900; i++) write(root, `many/${i % 90}/inner/${i}.json`, JSON.stringify({ i, words: words(20) }))
  for (const name of names) write(root, `names/${name}`, `content of ${name}\n`)
  for (const name of names.slice(0, 8)) write(root, `names of directories/${name}/${name}`, name)
  for (let i = 0; i < 60; i++) write(root, `empty/${i}.txt`, "")
  write(root, `${Array.from({ length: 60 }, (_, i) => `d${i}`).join("/")}/deep.txt`, "deep")
  for (let i = 0; i < 200; i++) {
    write(
      root,
      `bytes/${i}.bin`,
      Uint8Array.from({ length: Math.floor(next() * 5_000) }, () => Math.floor(next() * 256))
    )
  }
  // around the sizes at which reading goes another way
  for (const size of [256 * 1024 - 1, 256 * 1024, 256 * 1024 + 1, 512 * 1024, mebibyte, 8 * mebibyte]) {
    write(root, `sizes/${size}.dat`, Crypto.createHash("shake256", { outputLength: size }).update(`${size}`).digest())
  }
  // a character of three bytes across the end of every piece
  write(root, "sizes/euro.txt", `x${"€".repeat(200_000)}`)
  write(root, "types/binary.txt", Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 0, 1, 2, 3))
  write(root, "types/latin1.md", Uint8Array.of(0x63, 0x61, 0x66, 0xe9, 0x0a))
  write(root, "types/cut.txt", Uint8Array.of(0x61, 0xe2, 0x82))
  write(root, "types/late.txt", Buffer.concat([Buffer.alloc(600 * 1024, "text\n"), Uint8Array.of(0xff)]))
  for (const extra of [1, mebibyte, 3 * 1024 * mebibyte]) {
    write(root, `huge/${extra}.txt`, "")
    Fs.truncateSync(Path.join(root, `huge/${extra}.txt`), 8 * mebibyte + extra)
  }
  Fs.mkdirSync(Path.join(root, "others"))
  Fs.symlinkSync("nowhere", Path.join(root, "others/dangling"))
  Fs.symlinkSync("..", Path.join(root, "others/loop"))
  Fs.symlinkSync("../sizes/euro.txt", Path.join(root, "others/link.txt"))
  execFileSync("mkfifo", [Path.join(root, "others/pipe.txt")])
  // a name that is no UTF-8: nothing that takes a string can reach it. Not every file system takes such names
  try {
    Fs.writeFileSync(Buffer.concat([Buffer.from(Path.join(root, "names/latin-")), Buffer.of(0xe9)]), "x")
  } catch {
    // then there is none
  }
  beyondReach(root)
}

/**
 * Files and directories whose path is longer than the system takes (4,096 bytes on Linux), which also root cannot open:
 * made by moving one long chain below another.
 */
const beyondReach = (root: string): void => {
  const segment = "s".repeat(200)
  // the path of the innermost directory is just short enough, the paths of what is in it are not
  const limit = process.platform === "linux" ? 4_095 : 1_023
  const room = limit - 60 - Buffer.byteLength(root)
  const segments = Math.floor(room / (segment.length + 1))
  const last = "l".repeat(Math.max(1, Math.min(200, room - segments * (segment.length + 1))))
  const half = Math.floor(segments / 2)
  const chain = (n: number) => Array.from({ length: n }, () => segment)
  const lower = Path.join(root, "lower", ...chain(segments - half), last)
  Fs.mkdirSync(Path.join(lower, "subdirectory"), { recursive: true })
  Fs.writeFileSync(Path.join(lower, `${"f".repeat(100)}.txt`), "out of reach")
  Fs.writeFileSync(Path.join(lower, "subdirectory", `${"f".repeat(100)}.txt`), "out of reach")
  Fs.renameSync(Path.join(lower, "subdirectory"), Path.join(lower, "g".repeat(100)))
  const upper = Path.join(root, "upper", ...chain(half))
  Fs.mkdirSync(upper, { recursive: true })
  for (const name of Fs.readdirSync(Path.join(root, "lower"))) {
    Fs.renameSync(Path.join(root, "lower", name), Path.join(upper, name))
  }
  Fs.rmdirSync(Path.join(root, "lower"))
}

/** `rm` knows its way through paths that are too long for others. */
export const fell = (directory: string): void => void execFileSync("rm", ["-rf", directory])

const notText = new Set(["types/binary.txt", "types/latin1.md", "types/cut.txt", "types/late.txt"])

/** Every regular file below, by the path that an index uses, found and hashed without the program that is tested. */
export const expected = (root: string): Map<string, Expected> => {
  const files = new Map<string, Expected>()
  const walk = (directory: string) => {
    for (const entry of Fs.readdirSync(directory, { withFileTypes: true })) {
      const file = Path.join(directory, entry.name)
      if (entry.isDirectory()) {
        try {
          walk(file)
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== "ENAMETOOLONG") throw error
        }
      } else if (entry.isFile()) files.set(file, expectedOf(root, file))
    }
  }
  walk(root)
  return files
}

const expectedOf = (root: string, file: string): Expected => {
  if (!Fs.existsSync(file)) return { sha256: null, bytes: null, error: "Unreadable" }
  const { size } = Fs.statSync(file)
  if (size > 8 * mebibyte) return { sha256: null, bytes: size, error: "TooLarge" }
  if (notText.has(Path.relative(root, file))) return { sha256: null, bytes: size, error: "NotText" }
  return { sha256: Crypto.createHash("sha256").update(Fs.readFileSync(file)).digest("hex"), bytes: size, error: null }
}
