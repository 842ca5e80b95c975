/** W3C Baggage (https://www.w3.org/TR/baggage/) as a record: parsing that never fails, printing within its limits. */

/** limits of the recommendation: what is beyond them is left out */
const maxEntries = 64
const maxBytes = 8_192

const token = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/

/** undefined when there is nothing to write */
export const print = (baggage: Readonly<Record<string, string>>): string | undefined => {
  const members: Array<string> = []
  let bytes = 0
  for (const [key, value] of Object.entries(baggage)) {
    if (!token.test(key)) continue
    const member = `${key}=${encode(value)}`
    bytes += member.length + 1
    if (members.length === maxEntries || bytes - 1 > maxBytes) break
    members.push(member)
  }
  return members.length === 0 ? undefined : members.join(",")
}

export const parse = (header: string | undefined): Readonly<Record<string, string>> => {
  const entries: Array<readonly [string, string]> = []
  for (const member of (header ?? "").split(",")) {
    const [pair] = member.split(";") as [string] // properties of a member say nothing to us
    const at = pair.indexOf("=")
    const key = pair.slice(0, at).trim()
    if (at < 1 || !token.test(key)) continue
    entries.push([key, decode(pair.slice(at + 1).trim())])
  }
  return Object.fromEntries(entries)
}

/** Half of a surrogate pair has no UTF-8: replaced, as everywhere. */
const encode = (value: string): string => encodeURIComponent(new TextDecoder().decode(new TextEncoder().encode(value)))

const decode = (value: string): string => {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}
