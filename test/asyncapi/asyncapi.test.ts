/** The AsyncAPI document of a group: what stands in it, and that the official parser finds nothing wrong with it. */
import { assert, describe, it } from "@effect/vitest"
import type * as JsonSchema from "effect/JsonSchema"
import * as Schema from "effect/Schema"
import * as fc from "fast-check"
import { spawn } from "node:child_process"
import { once } from "node:events"
import { join } from "node:path"
import * as AsyncApi from "windlass/asyncapi/AsyncApi"
import * as Channel from "windlass/bus/Channel"
import * as Middleware from "windlass/Middleware"
import * as Task from "windlass/Task"
import * as TaskGroup from "windlass/TaskGroup"
import { root } from "../support/tsc.ts"

interface Parsed {
  readonly problems: ReadonlyArray<string>
  readonly hints: ReadonlyArray<string>
  readonly operations: ReadonlyArray<{
    readonly id: string
    readonly action: string
    readonly addresses: ReadonlyArray<string | null>
    readonly parameters: ReadonlyArray<string>
    readonly payloads: ReadonlyArray<any>
    readonly headers: ReadonlyArray<any>
    readonly replies: ReadonlyArray<string>
  }>
}

/** what the official parser says of each */
const parse = async (documents: ReadonlyArray<AsyncApi.Document>): Promise<ReadonlyArray<Parsed>> => {
  const child = spawn(process.execPath, [join(root, "test/asyncapi/parse.cjs")], { stdio: ["pipe", "pipe", "inherit"] })
  child.stdin.end(JSON.stringify(documents))
  const chunks: Array<Buffer> = []
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk))
  const [code] = await once(child, "close")
  assert.strictEqual(code, 0)
  return JSON.parse(Buffer.concat(chunks).toString("utf8"))
}

class Money extends Schema.Class<Money>("Money")({ cents: Schema.Int, currency: Schema.Literals(["EUR", "USD"]) }) {}
class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", { sku: Schema.String }) {}
class MissingTenant extends Schema.TaggedError<MissingTenant>()("MissingTenant", {}) {}
class RequireTenant extends Middleware.Service<RequireTenant>()("RequireTenant", { error: MissingTenant }) {}

interface Category {
  readonly name: string
  readonly children: ReadonlyArray<Category>
}
const Category = Schema.Struct({
  name: Schema.String,
  children: Schema.Array(Schema.suspend((): Schema.Codec<Category> => Category))
}).annotate({ identifier: "my/Category" })

class InvoiceDue extends Channel.make("invoices.{id}", { payload: { amount: Money } }) {}
class OrderPlaced extends Channel.make("orders.{region}.{id}", {
  parameters: {
    id: Schema.FiniteFromString,
    region: Schema.Literals(["eu", "us"]).annotate({ description: "where it was placed" })
  },
  headers: Schema.Struct({ tenant: Schema.String, "x-trace": Schema.optionalKey(Schema.String) }).pipe(
    Schema.encodeKeys({ tenant: "x-tenant" })
  ),
  payload: { amount: Money, at: Schema.Date, category: Category, note: Schema.NullOr(Schema.String) },
  success: Schema.Struct({ shipped: Schema.Boolean }),
  error: OutOfStock,
  middleware: [RequireTenant],
  emits: [InvoiceDue],
  title: "An order was placed",
  description: "Once per order.",
  bindings: { sqs: { queue: { name: "orders", fifoQueue: false } } }
}) {}
class Resize extends Task.make("Resize image", {
  payload: { width: Schema.Int, tuple: Schema.Tuple([Schema.String, Schema.Number]) }
}) {}
class Tick extends Task.make("Tick") {}

const App = TaskGroup.make(OrderPlaced, Resize, Tick)
const options: AsyncApi.Options = {
  title: "Shop",
  version: "1.2.3",
  description: "Orders and invoices",
  servers: { main: { host: "localhost:5432", protocol: "postgres" } }
}

const document = AsyncApi.fromGroup(App, options)

describe("the AsyncAPI document", () => {
  it("has no errors and no warnings in the official parser, which reads out of it what the program says", async () => {
    const [result] = await parse([document])
    assert.deepStrictEqual(result!.problems, [])
    // the one thing that the parser would like otherwise: it knows of 3.1 as well
    assert.deepStrictEqual(new Set(result!.hints), new Set(["asyncapi-latest-version"]))
    const operation = (id: string) => result!.operations.find((one) => one.id === id)
    assert.deepStrictEqual(result!.operations.map((one) => one.id).toSorted(), [
      "receive-Resize-image",
      "receive-Tick",
      "receive-orders.region.id",
      "send-invoices.id"
    ])
    assert.deepStrictEqual(operation("receive-orders.region.id"), {
      id: "receive-orders.region.id",
      action: "receive",
      addresses: ["orders.{region}.{id}"],
      parameters: ["region", "id"],
      payloads: [["amount", "at", "category", "note"]],
      headers: [["x-tenant", "x-trace"]],
      replies: ["orders.region.id-success", "orders.region.id-failure", "orders.region.id-failure.2"]
    })
    assert.deepInclude(operation("send-invoices.id"), { action: "send", payloads: [["amount"]], replies: [] })
  })

  it("says of a channel its address, parameters, bindings and words", () => {
    assert.deepInclude(document.channels["orders.region.id"], {
      address: "orders.{region}.{id}",
      title: "An order was placed",
      description: "Once per order.",
      parameters: { region: { description: "where it was placed", enum: ["eu", "us"] }, id: {} },
      bindings: { sqs: { queue: { name: "orders", fifoQueue: false } } }
    })
    assert.deepStrictEqual(document.channels["orders.region.id-reply"]?.address, null)
    assert.deepStrictEqual(document.channels["Resize-image"]?.address, "Resize image")
    assert.deepStrictEqual(document.components.messages["Tick"], { name: "Tick" })
    assert.deepStrictEqual(document.servers, { main: { host: "localhost:5432", protocol: "postgres" } })
  })

  it("describes what is encoded, with what is shared and what is recursive as components", () => {
    const message = document.components.messages["orders.region.id"]!
    const properties = message.payload!["properties"] as Readonly<Record<string, JsonSchema.JsonSchema>>
    assert.deepInclude(properties["at"], { type: "string" })
    assert.deepStrictEqual(properties["amount"], {
      $ref: "#/components/schemas/MoneyEncoded"
    })
    assert.deepStrictEqual(message.headers?.["required"], ["x-tenant"])
    assert.deepStrictEqual(document.components.schemas!["my_Category"]!["properties"], {
      name: { type: "string" },
      children: { type: "array", items: { $ref: "#/components/schemas/my_Category" } }
    })
    const failures = ["orders.region.id-failure", "orders.region.id-failure.2"].map((name) =>
      document.components.messages[name]?.payload
    )
    assert.deepStrictEqual(failures, [
      { $ref: "#/components/schemas/OutOfStockEncoded" },
      { $ref: "#/components/schemas/MissingTenantEncoded" }
    ])
  })

  it("is the same for the same tasks in another order, and for another call", () => {
    assert.strictEqual(
      JSON.stringify(AsyncApi.fromGroup(TaskGroup.make(Tick, Resize, OrderPlaced), options)),
      JSON.stringify(document)
    )
  })

  it("tells apart what would have one name, and is valid for names of any kind", async () => {
    const names = ["a", "a-reply", "a-success", "{a}", "a b", "a/b", "a~b", "é", "2", "-", "."]
    const group = TaskGroup.make(...names.map((name) => Task.make(name, { success: Schema.Number })))
    const one = AsyncApi.fromGroup(group, { title: "t", version: "1" })
    const addresses = Object.values(one.channels).flatMap(({ address }) => address ?? [])
    assert.deepStrictEqual(addresses.toSorted(), names.toSorted())
    assert.strictEqual(Object.keys(one.channels).length, names.length * 2)
    assert.strictEqual(Object.keys(one.components.messages).length, names.length * 2)
    const [result] = await parse([one, AsyncApi.fromGroup(TaskGroup.make(), { title: "t", version: "1" })])
    assert.deepStrictEqual(result!.problems, [])
  })

  it(
    "is valid for random groups: schemas of every kind, shared ones, addresses, headers, errors, emissions",
    async () => {
      const counts = { channels: 0, tasks: 0, emits: 0, headers: 0, parameters: 0, errors: 0, shared: 0 }
      const leaf = fc.constantFrom<() => Task.PlainSchema>(
        () => Schema.String,
        () => Schema.Number,
        () => Schema.FiniteFromString,
        () => Schema.Boolean,
        () => Schema.Date,
        () => Schema.BigInt,
        () => Schema.Uint8Array,
        () => Schema.Unknown,
        () => Schema.Literals(["a", "b"]),
        () => Schema.NonEmptyString.check(Schema.isPattern(/^[a-z]+$/)),
        () => Schema.Record(Schema.String, Schema.Int),
        () => Schema.Option(Schema.String),
        () => Schema.ReadonlyMap(Schema.String, Schema.Number),
        () => Schema.Null,
        () => Schema.Void,
        () => (counts.shared++, Money),
        () => (counts.shared++, Category)
      )
      const { schema } = fc.letrec<{ schema: () => Task.PlainSchema }>((tie) => ({
        schema: fc.oneof(
          { maxDepth: 3, depthSize: "small" },
          leaf,
          fc.array(tie("schema"), { minLength: 1, maxLength: 3 }).map((all) => () =>
            Schema.Union(all.map((one) => one()))
          ),
          fc.array(tie("schema"), { maxLength: 3 }).map((all) => () => Schema.Tuple(all.map((one) => one()))),
          tie("schema").map((one) => () => Schema.Array(one())),
          tie("schema").map((one) => () => Schema.NullOr(one())),
          fc.dictionary(fc.constantFrom("x", "y z", "type", "properties"), tie("schema"), { maxKeys: 3 }).map(
            (fields) => () =>
              Schema.Struct(
                Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, Schema.optional(one())]))
              ) as Task.PlainSchema
          )
        )
      }))
      const channel = fc.record({
        parts: fc.array(fc.constantFrom("a", "b-c", "{p}", "x{p}"), { minLength: 1, maxLength: 3 }),
        header: fc.option(fc.constantFrom("x-a", "content_type", "B")),
        payload: fc.option(schema),
        success: fc.option(schema),
        failing: fc.boolean(),
        plain: fc.boolean()
      })
      let serial = 0
      const groups = fc.sample(fc.array(channel, { minLength: 1, maxLength: 5 }), { numRuns: 25, seed: 20_261_121 })
      const documents = groups.map((described) => {
        const made: Array<Channel.Any> = []
        const tasks = described.map(({ failing, header, parts, payload, plain, success }): Task.Any => {
          const options = {
            ...(payload === null ? {} : { payload: payload() }),
            ...(success === null ? {} : { success: success() }),
            ...(failing ? { error: OutOfStock, middleware: [RequireTenant] as const } : {})
          }
          if (failing) counts.errors++
          if (plain) {
            counts.tasks++
            return Task.make(`task ${serial++} ${parts.join("/")}`, options)
          }
          counts.channels++
          if (header !== null) counts.headers++
          if (parts.join().includes("{")) counts.parameters++
          if (made.length > 0) counts.emits++
          const address = `c${serial++}.${parts.map((part, i) => part.replace("p}", `p${i}}`)).join(".")}`
          const one = Channel.make(address, {
            ...options,
            ...(header === null ? {} : { headers: { [header]: Schema.String } }),
            emits: made.slice(-1)
          })
          made.push(one)
          return one
        })
        return AsyncApi.fromGroup(TaskGroup.make(...tasks), { title: "random", version: "0" })
      })
      const results = await parse(documents)
      results.forEach((result, i) => {
        assert.deepStrictEqual(result.problems, [], JSON.stringify(documents[i]))
        assert.isDefined(result.operations)
      })
      process.stdout.write(`AsyncAPI: ${JSON.stringify(counts)}\n`)
      for (const [kind, count] of Object.entries(counts)) assert.isAbove(count, 8, kind)
    },
    60_000
  )
})
