/** Asks an index anything, where there is no `sqlite3`: `node query.ts FILE "select ..."`. Read-only. */
import { DatabaseSync } from "node:sqlite"
import { question } from "./question.ts"

const [file, sql = question] = process.argv.slice(2)
if (file === undefined) {
  process.stderr.write("usage: node query.ts FILE [SQL]\n")
  process.exitCode = 2
} else {
  const db = new DatabaseSync(file, { readOnly: true, timeout: 5_000 })
  console.table(db.prepare(sql).all().map((row) => ({ ...row })))
  db.close()
}
