/**
 * Unique keys, as the model has them.
 *
 * @since 0.1.0
 */
import type { Uniqueness } from "../../../Backend.ts"

interface Held {
  readonly name: string
  readonly until: "started" | "finished" | "window"
  readonly expires: number
}

export class Keys {
  private readonly held: Map<string, Held>

  constructor(held: Iterable<readonly [string, Held]> = []) {
    this.held = new Map(held)
  }

  copy(): Keys {
    return new Keys(this.held)
  }

  /** takes the key, unless another holds it: its name then */
  take({ key, until }: Uniqueness, name: string, now: number): string | undefined {
    const held = this.held.get(key)
    if (held !== undefined && held.expires > now) return held.name
    this.held.set(
      key,
      typeof until === "object"
        ? { name, until: "window", expires: now + until.millis }
        : { name, until, expires: Infinity }
    )
    return undefined
  }

  /** a window is freed by time alone */
  free(unique: Uniqueness | undefined, name: string, until: "started" | "finished"): void {
    const held = unique === undefined ? undefined : this.held.get(unique.key)
    if (held !== undefined && held.name === name && held.until === until) this.held.delete(unique!.key)
  }
}
