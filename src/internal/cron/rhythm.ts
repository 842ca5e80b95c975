/**
 * When an entry ticks: a cron expression, or a `Cron` of effect, in one time zone; a wall time of every day; or an
 * interval, counted from one time.
 *
 * A wall time that a change of the clocks skips comes as much later as the clocks were put on; one that comes twice is
 * taken the first time, so that a daily entry runs exactly once on both days. An entry of every hour goes on through the
 * repeated hour: it would stand still for an hour otherwise.
 */
import * as EffectCron from "effect/Cron"
import * as DateTime from "effect/DateTime"
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type { When } from "../../Cron.ts"

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
export const make = (when: When, now: number): Rhythm | string => {
  const ways = [when.cron, when.every, when.daily].filter((way) => way !== undefined).length
  if (ways !== 1) {
    return "it says its times " + (ways === 0 ? "nowhere" : "twice") + ": give it one of cron, every and daily"
  }
  return when.cron !== undefined
    ? byCron(when.cron, when.tz, now)
    : when.daily !== undefined
    ? byDay(when.daily, when.tz, now)
    : byInterval(when.every!, when.from)
}

const byDay = (time: string, tz: string | undefined, now: number): Rhythm | string => {
  const parts = /^([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?$/.exec(time)
  return parts === null
    ? `its daily time "${time}" is none: write hours and minutes as "02:30", with seconds as "02:30:15"`
    : byCron(`${Number(parts[3] ?? 0)} ${Number(parts[2])} ${Number(parts[1])} * * *`, tz, now)
}

/** what `Date` can say, in milliseconds around 1970 */
const lastDate = 8.64e15

const byInterval = (every: Duration.Input, from: Date | undefined): Rhythm | string => {
  const step = Duration.toMillis(every)
  const start = from?.getTime() ?? 0
  if (!(Number.isSafeInteger(step) && step >= 1)) {
    return `its interval of ${step} ms is none: give it a whole number of milliseconds from 1`
  }
  if (Number.isNaN(start)) return "its from is no date"
  const next = (after: number) => after < start ? start : start + (Math.floor((after - start) / step) + 1) * step
  if (next(start) > lastDate) return `its second tick, ${step} ms after the first, is beyond what a date can say`
  return {
    next,
    between: (after, until, max) => {
      const ticks: Array<number> = []
      let tick = until < start ? -Infinity : start + Math.floor((until - start) / step) * step
      for (; tick > after && tick >= start && ticks.length < max; tick -= step) ticks.push(tick)
      return { ticks: ticks.reverse(), more: tick > after && tick >= start }
    }
  }
}

const byCron = (cron: string | EffectCron.Cron, tz: string | undefined, now: number): Rhythm | string => {
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
