/**
 * The official AsyncAPI parser in a process of its own (a dependency of it does not load within vitest): reads a JSON array
 * of documents from stdin and prints for each what the parser says.
 */
const { DiagnosticSeverity, Parser } = require("@asyncapi/parser")

const main = async () => {
  const chunks = []
  for await (const chunk of process.stdin) chunks.push(chunk)
  const parser = new Parser()
  const results = []
  for (const document of JSON.parse(Buffer.concat(chunks).toString("utf8"))) {
    const { diagnostics, document: parsed } = await parser.parse(JSON.stringify(document))
    const named = (severe) =>
      diagnostics.filter(({ severity }) => (severity <= DiagnosticSeverity.Warning) === severe)
    results.push({
      problems: named(true).map(({ code, message, path }) => `${code} ${path.join("/")}: ${message}`),
      hints: named(false).map(({ code }) => String(code)),
      operations: parsed === undefined
        ? undefined
        : parsed.operations().all().map((one) => ({
          id: one.id(),
          action: one.action(),
          addresses: one.channels().all().map((channel) => channel.address()),
          parameters: one.channels().all().flatMap((channel) => channel.parameters().all().map((p) => p.id())),
          payloads: one.messages().all().map((message) => Object.keys(message.payload()?.json().properties ?? {})),
          headers: one.messages().all().map((message) => Object.keys(message.headers()?.json().properties ?? {})),
          replies: one.reply()?.messages().all().map((message) => message.name()) ?? []
        }))
    })
  }
  process.stdout.write(JSON.stringify(results))
}

main()
