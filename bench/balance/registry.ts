/** Who is looked at, in the order of the table; nothing is loaded for it. */

export interface Entrant {
  readonly name: string
  readonly module: string
  /** what it is installed as; its version is read there */
  readonly package?: string
  /** what it needs besides this machine's Node */
  readonly needs?: "redis" | "postgres"
}

export const entrants: ReadonlyArray<Entrant> = [
  { name: "Windlass", module: "windlass.ts" },
  { name: "effect-mq", module: "peers/effect-mq.ts", package: "effect-mq" },
  { name: "effect-mq, scoped by hand", module: "peers/effect-mq.ts", package: "effect-mq" },
  { name: "BullMQ", module: "peers/bullmq.ts", package: "bullmq", needs: "redis" },
  { name: "graphile-worker", module: "peers/graphile.ts", package: "graphile-worker", needs: "postgres" },
  { name: "Inngest, wrapFunctionHandler", module: "peers/inngest.ts", package: "inngest" },
  { name: "Inngest, wrapRequest", module: "peers/inngest.ts", package: "inngest" },
  { name: "Trigger.dev", module: "peers/trigger.ts", package: "@trigger.dev/core" },
  { name: "Middy", module: "peers/middy.ts", package: "@middy/core" },
  { name: "Middy, books kept", module: "peers/middy.ts", package: "@middy/core" },
  { name: "koa-compose", module: "peers/koa.ts", package: "koa-compose" },
  { name: "no library, try and finally", module: "peers/plain.ts" },
  { name: "no library, await using", module: "peers/plain.ts" }
]
