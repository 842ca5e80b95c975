/**
 * Plays commands on a backend and on the model, and says where the two part.
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { BackendError, Item, Receipt, Settlement, Subscription } from "../../../Backend.ts"
import { Cancel, DeadLetter, Inspect, Pause, Results } from "../../../Capability.ts"
import { Harness, same, type Services, show } from "../harness.ts"
import { type Stage, stage } from "../stage.ts"
import { type Ago, type Command, type NewJob, workers } from "./commands.ts"
import { Model } from "./model.ts"

type Step<A> = Effect.Effect<A, BackendError, Services>

class Play {
  readonly s: Stage
  readonly model: Model
  readonly subscriptions: ReadonlyArray<Subscription>
  readonly receipts: Array<Receipt> = []
  readonly context: Context.Context<Services>

  constructor(s: Stage, model: Model, subscriptions: ReadonlyArray<Subscription>, context: Context.Context<Services>) {
    this.s = s
    this.model = model
    this.subscriptions = subscriptions
    this.context = context
  }

  step(command: Command): Step<string | undefined> {
    const { context, model, s } = this
    switch (command._tag) {
      case "Publish": {
        // an id whose job has ended may be known or forgotten by now
        const jobs = command.jobs.filter(({ name }) => !model.jobs.has(name) || model.isLive(name))
        return Effect.map(
          s.backend.publish(s.queue, jobs.map((job) => this.item(job)), { atomic: command.atomic }),
          (answers) => {
            const seen = answers.map((answer) =>
              answer._tag === "Duplicate" ? { ...answer, existing: s.name(answer.existing) } : answer
            )
            const expected = model.publish(jobs, command.atomic)
            return same(seen, expected) ? undefined : `publish was answered ${show(seen)}, expected ${show(expected)}`
          }
        )
      }
      case "Take":
        return Effect.map(
          this.subscriptions[command.worker]!.take(command.max),
          (deliveries) => this.taken(command.worker, command.max, deliveries)
        )
      case "Settle": {
        const items = this.settlements(command.items)
        return Effect.map(
          this.subscriptions[0]!.settle(items.map(([, receipt, settlement]) => [receipt, settlement])),
          (answers) => this.settled(items, answers)
        )
      }
      case "Exchange": {
        const items = this.settlements(command.items)
        return Effect.map(
          this.subscriptions[command.worker]!.exchange(
            items.map(([, receipt, settlement]) => [receipt, settlement]),
            command.max
          ),
          ([answers, deliveries]) => this.settled(items, answers) ?? this.taken(command.worker, command.max, deliveries)
        )
      }
      case "Extend": {
        const { lease } = this.subscriptions[0]!
        const handouts = command.receipts.flatMap((ago) => this.handout(ago) ?? [])
        if (lease._tag !== "Timed") return Effect.undefined
        return Effect.map(lease.extend(handouts.map((n) => this.receipts[n]!)), (answers) => {
          for (let i = 0; i < handouts.length; i++) {
            const problem = model.extend(handouts[i]!, answers[i]!)
            if (problem !== undefined) return problem
          }
          return undefined
        })
      }
      case "Advance":
        return Effect.map(Context.get(context, Harness).advance(command.millis), () => {
          model.now += command.millis
          return undefined
        })
      case "Cancel":
        return Effect.map(
          Context.get(context, Cancel).request(s.id(command.name)),
          (answer) => model.cancel(command.name, answer)
        )
      case "Pause":
        return Effect.map(Context.get(context, Pause).set(s.queue, command.paused), () => {
          model.paused = command.paused
          return undefined
        })
      case "Redrive":
        if (!model.mayRedrive(command.name)) return Effect.undefined
        return Effect.map(
          Context.get(context, DeadLetter).retry(s.id(command.name)),
          (answer) => model.redrive(command.name, answer)
        )
      case "Progress": {
        const handout = this.handout(command.receipt)
        if (handout === undefined) return Effect.undefined
        return Effect.map(
          Context.get(context, Inspect).progress(this.receipts[handout]!, command.value),
          (answer) => {
            const job = model.owner(handout)
            if (job !== undefined && model.expired(job) && answer === "Lost") return undefined
            if (job !== undefined) job.progress = command.value
            return answer === (job === undefined ? "Lost" : "Stored")
              ? undefined
              : `progress of hand-out ${handout} was answered ${answer}`
          }
        )
      }
      case "Poll": {
        const expected = model.result(command.name)
        if (expected === undefined) return Effect.undefined
        return Effect.map(Context.get(context, Results).poll(s.id(command.name)), (found) => {
          const seen = found._tag === "None" ? "None" : found.value
          // why a job is said to be aborted when it was cancelled is up to the engine
          const alike = expected !== "None" && expected.reason === undefined && seen !== "None"
            ? { ...seen, reason: undefined }
            : seen
          return same(alike, expected)
            ? undefined
            : `result of ${command.name} is ${show(seen)}, expected ${show(expected)}`
        })
      }
      case "Look":
        return this.look(Context.get(context, Inspect))
    }
  }

  private item({ due, group, groupLimit, keepResult, name, priority, unique }: NewJob): Item {
    return this.s.item(name, {
      due: due === undefined ? undefined : { _tag: "After", millis: due },
      priority,
      group,
      groupLimit,
      unique,
      keepResult
    })
  }

  private handout(ago: Ago): number | undefined {
    const { length } = this.receipts
    return length === 0 ? undefined : length - 1 - (ago % length)
  }

  private settlements(items: ReadonlyArray<readonly [Ago, Settlement]>) {
    const seen = new Set<number>()
    let joined = false
    // which of two settlements in one batch wins is up to the engine
    const settled = items.flatMap(([ago, settlement]) => {
      const handout = this.handout(ago)
      if (handout === undefined || seen.has(handout)) return []
      seen.add(handout)
      return [[handout, this.receipts[handout]!, settlement] as const]
    })
    const groups = settled.map(([handout]) => this.model.owner(handout)?.group)
    return settled.map(([handout, receipt, settlement], i) => {
      if (settlement._tag !== "Retry" || settlement.to?.group === undefined) {
        return [handout, receipt, settlement] as const
      }
      // so is which of two that join a group is the older, and whether the last of a group leaves before one comes
      const { group } = settlement.to
      const unsaid = joined || groups.some((other, j) => j !== i && other !== undefined && other === group)
      joined = true
      return [handout, receipt, unsaid ? { ...settlement, to: undefined } : settlement] as const
    })
  }

  private settled(
    items: ReadonlyArray<readonly [number, Receipt, Settlement]>,
    answers: Effect.Success<ReturnType<Subscription["settle"]>>
  ): string | undefined {
    if (answers.length !== items.length) return `${items.length} settlements got ${answers.length} answers`
    this.model.nextBatch()
    for (let i = 0; i < items.length; i++) {
      const problem = this.model.settle(items[i]![0], items[i]![2], answers[i]!)
      if (problem !== undefined) return problem
    }
    return undefined
  }

  private taken(worker: number, max: number, deliveries: Effect.Success<ReturnType<Subscription["take"]>>) {
    const problem = this.model.take(`w${worker}`, max, deliveries, this.s.name)
    for (const { receipt } of deliveries) this.receipts.push(receipt)
    return problem
  }

  private look(inspect: Inspect["Service"]): Step<string | undefined> {
    const { model, s } = this
    const jobs = Array.from(model.jobs.values())
    // whether a job whose lease ran out still counts as active is up to the engine
    if (jobs.some((job) => model.expired(job))) return Effect.undefined
    return Effect.gen(function*() {
      const counts = yield* inspect.counts(s.queue)
      const count = (...states: ReadonlyArray<string>) => jobs.filter((job) => states.includes(model.state(job))).length
      const expected = {
        ready: count("ready", "blocked"),
        scheduled: count("scheduled"),
        active: count("active"),
        dead: count("dead")
      }
      if (!same(counts, expected)) return `counts are ${show(counts)}, expected ${show(expected)}`
      for (const job of jobs) {
        if (!model.isLive(job.name)) continue
        const record = yield* inspect.get(s.id(job.name))
        if (record._tag === "None") return `${job.name} is not known`
        const { attempt, progress, state } = record.value
        const seen = { state, attempt, progress }
        const should = { state: model.state(job), attempt: job.spent + 1, progress: job.progress }
        if (!same(seen, should)) return `${job.name} is ${show(seen)}, expected ${show(should)}`
      }
      return undefined
    })
  }
}

export interface Outcome {
  /** index of the command at which backend and model parted */
  readonly at: number
  readonly problem: string
}

/** plays all commands on a queue of its own, then completes what is left; `undefined` when all went as it should */
export const play = (
  fresh: string,
  commands: ReadonlyArray<Command>,
  goOn: Effect.Effect<boolean> = Effect.succeed(true)
): Effect.Effect<Outcome | undefined, BackendError, Services> =>
  Effect.scoped(Effect.gen(function*() {
    const context = yield* Effect.context<Services>()
    const s = yield* stage
    const subscriptions = yield* Effect.forEach(Array.from({ length: workers }), (_, n) => s.subscribe(`w${n}`))
    const { lease } = subscriptions[0]!
    const run = new Play(s, new Model(lease._tag === "Timed" ? lease.millis : Infinity), subscriptions, context)
    for (let at = 0; at < commands.length; at++) {
      if (!(yield* goOn)) return undefined
      const problem = yield* run.step(commands[at]!)
      if (problem !== undefined) return { at, problem }
    }
    if (run.model.paused) yield* run.step({ _tag: "Pause", paused: false })
    for (let round = 0; round < 1000; round++) {
      const live = Array.from(run.model.jobs.values()).filter(({ name }) => run.model.isLive(name))
      if (live.length === 0) return undefined
      if (!(yield* goOn)) return undefined
      const done = { _tag: "Complete", how: "succeeded", exit: undefined, reason: undefined } as const
      const owned = live.filter(({ phase }) => phase === "active").slice(0, 10)
      const problem = (yield* run.step({
        _tag: "Settle",
        items: owned.map(({ handout }) => [run.receipts.length - 1 - handout, done] as const)
      })) ?? (yield* run.step({ _tag: "Take", worker: 0, max: 10 }))
      if (problem !== undefined) return { at: commands.length, problem: `while completing what is left: ${problem}` }
      const next = Math.min(...live.map(({ due }) => due).filter((due) => due > run.model.now))
      if (next < Infinity) yield* run.step({ _tag: "Advance", millis: next - run.model.now })
    }
    return { at: commands.length, problem: "jobs are left that are never handed out" }
  })).pipe(Effect.updateService(Harness, (harness) => ({ ...harness, fresh })))
