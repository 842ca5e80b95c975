/** What the two processes share: the contract, and the file that holds the queue. */
import { Schema } from "effect"
import * as SqliteBackend from "windlass/backends/SqliteBackend"
import * as Task from "windlass/Task"

export class Greet extends Task.make("Greet", { payload: { name: Schema.String } }) {}

const filename = process.argv[2]
if (filename === undefined) throw new Error("name the file of the queue: node producer.ts queue.db")

export const QueueLive = SqliteBackend.layer({ filename })
