/**
 * The strings that must not be seen, gathered while a value is masked, and their removal from texts that may quote them:
 * messages of errors, stacks, reasons.
 */

/** what stands in the place of a secret */
export const blot = "<secret>"

/** a text that could not be searched is not shown */
export const withheld = "<withheld>"

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")

/** A secret shorter than this is removed from texts only where it stands as a word: else "a" would blot everything. */
const short = 4

/** The forms in which a text may quote a string. */
const forms = (text: string): ReadonlyArray<string> => {
  const json = JSON.stringify(text).slice(1, -1)
  const uri = asUri(text)
  return [text, ...(json === text ? [] : [json]), ...(uri === text ? [] : [uri])]
}

const asUri = (text: string): string => {
  try {
    return encodeURIComponent(text)
  } catch {
    return text // half of a surrogate pair: it cannot stand in a URI
  }
}

/** The secrets of one job. */
export class Secrets {
  private readonly found = new Set<string>()
  private pattern: RegExp | undefined = undefined
  /** there were more than could be gathered, so that no text can be trusted */
  overflow = false

  add(text: string): void {
    if (text.trim() === "") return
    this.found.add(text)
    this.pattern = undefined
  }

  /** The text without the secrets. */
  scrub(text: string): string {
    if (this.overflow) return withheld
    if (this.found.size === 0) return text
    return text.replace(this.pattern ??= this.compile(), blot)
  }

  /** The same for every string within plain data, keys included. */
  scrubAll(data: unknown): unknown {
    if (this.found.size === 0 && !this.overflow) return data
    if (typeof data === "string") return this.scrub(data)
    if (Array.isArray(data)) return data.map((item) => this.scrubAll(item))
    if (typeof data !== "object" || data === null) return data
    return Object.fromEntries(
      Object.entries(data).map(([key, value]) => [this.overflow ? key : this.scrub(key), this.scrubAll(value)])
    )
  }

  /** Longest first, so that a secret which contains another one goes as a whole. */
  private compile(): RegExp {
    const all = Array.from(this.found, forms).flat().sort((a, b) => b.length - a.length)
    return new RegExp(
      all.map((text) => text.length < short ? `(?<![\\p{L}\\p{N}])${escape(text)}(?![\\p{L}\\p{N}])` : escape(text))
        .join("|"),
      "gu"
    )
  }
}
