import { defineConfig } from "vitest/config"

// the tests read the sources, not the build: the same condition that `npm start` and the examples use
// (not `module`: Node itself loads the packages, and what some name there only a bundler can load)
const conditions = ["windlass-source", "node", "import", "default"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    // processes, not threads: tests spawn and kill processes, and a worker's signal handlers belong to a process
    pool: "forks",
    maxWorkers: 2,
    allowOnly: !process.env.CI,
    passWithNoTests: false,
    reporters: ["default", "./scripts/closing-line.mjs"],
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
