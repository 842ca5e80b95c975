// `npm run test:faults -- --engines postgres --seed 7`: options of the fault suite, as the environment variables that it reads.
import { spawnSync } from "node:child_process"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"

const usage = `npm run test:faults -- [options]

  --engines a,b   of memory, sqlite, postgres, redis; all when absent         FAULTS_ENGINES
  --seed N        of crash points, cuts and sizes; made up when absent        FAULTS_SEED
  --only a,b      faults whose name has one of these parts                    FAULTS_ONLY
  --nth N         stop at the Nth passing of a crash point, not by the seed   FAULTS_NTH
  --long          more jobs, more rounds, minutes instead of seconds          FAULTS_FORM=long
  --write         write the table into docs/guarantees.md                     FAULTS_WRITE=1

Needs the binaries of the servers, which it starts itself: PostgreSQL's (initdb, postgres) and redis-server.
`

const options = {
  engines: { type: "string" },
  seed: { type: "string" },
  only: { type: "string" },
  nth: { type: "string" },
  long: { type: "boolean" },
  write: { type: "boolean" },
  help: { type: "boolean" }
}

const read = () => {
  try {
    return parseArgs({ options }).values
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${usage}`)
    process.exitCode = 1
  }
}

const values = read()

if (values?.help) {
  process.stdout.write(usage)
} else if (values !== undefined) {
  const env = { ...process.env }
  if (values.engines !== undefined) env.FAULTS_ENGINES = values.engines
  if (values.seed !== undefined) env.FAULTS_SEED = values.seed
  if (values.only !== undefined) env.FAULTS_ONLY = values.only
  if (values.nth !== undefined) env.FAULTS_NTH = values.nth
  if (values.long) env.FAULTS_FORM = "long"
  if (values.write) env.FAULTS_WRITE = "1"
  const vitest = fileURLToPath(new URL("../node_modules/vitest/vitest.mjs", import.meta.url))
  const { status } = spawnSync(process.execPath, [vitest, "run", "test/faults"], { env, stdio: "inherit" })
  process.exitCode = status ?? 1
}
