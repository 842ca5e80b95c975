import { defineConfig } from "vitest/config"

// the tests read the sources, not the build: the same condition that `npm start` and the examples use
const conditions = ["windlass-source", "node", "import", "module", "default"]

export default defineConfig({
  resolve: { conditions },
  ssr: { resolve: { conditions, externalConditions: conditions } },
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 60_000,
    hookTimeout: 60_000
  }
})
