/**
 * SQS for the tests: fauxqs, in process, a server of HTTP on a port of its own. Each layer has a prefix of its own for its
 * queues.
 */
import { type FauxqsServer, startFauxqs } from "fauxqs"
import type * as SqsBackend from "windlass/backends/SqsBackend"

export const start = (): Promise<FauxqsServer> => startFauxqs({ port: 0, logger: false, host: "localhost" })

export const credentials = { accessKeyId: "test", secretAccessKey: "test" } as const

export const freshPrefix = (): string => `wltest-${Math.random().toString(36).slice(2, 10)}-`

/** where a server is, for a layer */
export const at = (server: FauxqsServer, options: SqsBackend.Options = {}): SqsBackend.Options => ({
  region: "us-east-1",
  endpoint: `http://127.0.0.1:${server.port}`,
  client: { credentials },
  create: true,
  prefix: freshPrefix(),
  ...options
})
