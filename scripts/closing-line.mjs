// A vitest reporter that ends the run with one plain line, `N passed, N failed`, and, in CI, turns a test that did not run
// (skipped, todo) into a failure: a suite that skips is green for the wrong reason. What a test says in its name that was
// `not run here: ...`, because the machine lacks it, is said again at the end.

const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`

export default class ClosingLine {
  onTestRunEnd(modules, unhandledErrors) {
    let passed = 0
    let failed = unhandledErrors.length
    const unrun = []
    const lacking = new Set()
    for (const module of modules) {
      let failedHere = 0
      for (const test of module.children.allTests()) {
        const { state } = test.result()
        if (test.name.startsWith("not run here: ")) lacking.add(test.name)
        if (state === "passed") passed++
        else if (state === "failed") failedHere++
        else unrun.push(`${module.relativeModuleId} > ${test.fullName}`)
      }
      // a file that could not be loaded, or whose hooks failed, has no failed test
      failed += failedHere === 0 && module.state() === "failed" ? 1 : failedHere
    }
    if (process.env.CI && unrun.length > 0) {
      process.stdout.write(`\n${plural(unrun.length, "test")} did not run, which is a failure here:\n`)
      for (const name of unrun) process.stdout.write(`  ${name}\n`)
      failed += unrun.length
    }
    if (passed + failed === 0) failed = 1
    if (lacking.size > 0) process.stdout.write(`\n${Array.from(lacking).join("\n")}\n`)
    if (failed > 0) process.exitCode = 1
    process.stdout.write(`\n${passed} passed, ${failed} failed\n`)
  }
}
