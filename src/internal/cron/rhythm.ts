/**
 * When an entry ticks: a cron expression, or a `Cron` of effect, in one time zone.
 *
 * A wall time that a change of the clocks skips comes as much later as the clocks were put on; one that comes twice is
 * taken the first time, so that a daily entry runs exactly once on both days. An entry of every hour goes on through the
 * repeated hour: it would stand still for an hour otherwise.
 */
import * as EffectCron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Option from "effect/Option"
import * as Result from "effect/Result"

/** @internal */
export interface Rhythm {
  /** the first tick after a time, in milliseconds */
  readonly next: (after: number) => number
  /** the latest `max` ticks after a time, up to and including another, oldest first; `more`: there are earlier ones */
  readonly between: (after: number, until: number, max: number) => {
    readonly ticks: ReadonlyArray<number>
    readonly more: boolean
  }
}

/** A sentence says what is wrong. @internal */
export const make = (cron: string | EffectCron.Cron, tz: string | undefined, now: number): Rhythm | string => {
  const zone = DateTime.zoneFromString(tz ?? "UTC")
  if (Option.isNone(zone)) return `"${tz}" is no time zone: name one as "Europe/Berlin", "UTC" or "+02:00"`
  const parsed = typeof cron === "string" ? parse(cron, zone.value) : cron
  if (typeof parsed === "string") return parsed
  if (typeof cron !== "string" && tz !== undefined && Option.isSome(parsed.tz)) {
    return `its Cron has a time zone of its own, and tz says "${tz}": say it once`
  }
  // a `Cron` without a zone would take that of the machine, and machines differ
  const at = (millis: number) => DateTime.makeZonedUnsafe(millis, { timeZone: zone.value })
  const rhythm: Rhythm = {
    next: (after) => EffectCron.next(parsed, at(after)).getTime(),
    between: (after, until, max) => {
      const ticks: Array<number> = []
      let tick = previous(parsed, at(until + 1))
      while (tick > after && ticks.length < max) {
        ticks.push(tick)
        tick = previous(parsed, at(tick))
      }
      return { ticks: ticks.reverse(), more: tick > after }
    }
  }
  try {
    rhythm.next(now)
  } catch {
    return `its cron never comes: ${typeof cron === "string" ? `"${cron}"` : "no date"} matches no date`
  }
  return rhythm
}

const parse = (text: string, zone: DateTime.TimeZone): EffectCron.Cron | string => {
  const once = EffectCron.parse(text, zone)
  if (Result.isFailure(once)) {
    return `its cron "${text}" does not parse (${once.failure.message}): write minute, hour, day of the month, month and ` +
      `day of the week, with a second before them if needed`
  }
  return once.success.hours.size === 0 ? EffectCron.parseUnsafe(text, zone, { onDstOverlap: "both" }) : once.success
}

/** a cron that has not come yet has no previous tick */
const previous = (cron: EffectCron.Cron, before: DateTime.Zoned): number => {
  try {
    return EffectCron.prev(cron, before).getTime()
  } catch {
    return -Infinity
  }
}
