// Makes package-lock.json hold on every platform and against every mirror. Run it after a change of dependencies:
//
//   npm install && node scripts/complete-lock.mjs
//
// Two things that npm itself leaves undone:
//
// - A mirror that carries only some builds of a tool (dprint, oxlint, @effect/tsgo ship one package a platform) makes npm
//   write a lock file without the others, and `npm ci` then refuses it: an entry for every optional dependency is
//   required, also for those that this platform never installs. Such an entry gets name, version and platform here; its
//   integrity can only be known where the package can be had, so npm adds it there.
// - With `omit-lockfile-registry-resolved` in a user's settings the lock file has no addresses, and then a pinned
//   approval in `allowScripts` never matches. The address of a package in the public registry follows from its name and
//   version; npm itself replaces that host by the registry in use (`replace-registry-host`).
import { readFileSync, writeFileSync } from "node:fs"

const file = new URL("../package-lock.json", import.meta.url)
const lock = JSON.parse(readFileSync(file, "utf8"))
const packages = lock.packages

const nameOf = (key) => key.slice(key.lastIndexOf("node_modules/") + "node_modules/".length)
const address = (name, version) => `https://registry.npmjs.org/${name}/-/${name.split("/").at(-1)}-${version}.tgz`

const systems = new Set(
  ["aix", "android", "darwin", "freebsd", "linux", "netbsd", "openbsd", "openharmony", "sunos", "win32"]
)
const processors = new Set(["arm", "arm64", "ia32", "loong64", "mips64el", "ppc64", "riscv64", "s390x", "x64"])

const platform = (name) => {
  const words = name.split("/").at(-1).split("-")
  const os = words.filter((word) => systems.has(word))
  const cpu = words.filter((word) => processors.has(word))
  if (os.length !== 1 || cpu.length !== 1) throw new Error(`cannot tell the platform of ${name} from its name`)
  return { os, cpu }
}

const libc = (name) => {
  if (/-musl/.test(name)) return { libc: ["musl"] }
  if (/-linux-.*-gnu|-glibc/.test(name)) return { libc: ["glibc"] }
  return {}
}

let added = 0
for (const [key, entry] of Object.entries(packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (`${key}/node_modules/${name}` in packages || `node_modules/${name}` in packages) continue
    packages[`node_modules/${name}`] = {
      version,
      resolved: address(name, version),
      cpu: platform(name).cpu,
      ...(entry.dev ? { dev: true } : {}),
      ...libc(name),
      optional: true,
      os: platform(name).os
    }
    added++
  }
}

let addressed = 0
for (const [key, entry] of Object.entries(packages)) {
  if (key === "" || entry.link || entry.resolved) continue
  const { version, ...rest } = entry
  packages[key] = { version, resolved: address(entry.name ?? nameOf(key), version), ...rest }
  addressed++
}

lock.packages = Object.fromEntries(Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, "en")))
writeFileSync(file, JSON.stringify(lock, null, 2) + "\n")
process.stdout.write(`package-lock.json: ${added} platform packages added, ${addressed} addresses filled in\n`)
