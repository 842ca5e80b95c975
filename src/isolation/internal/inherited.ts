/**
 * The options of Node that a child takes over from its parent: how modules are found and loaded, not what the parent runs.
 * With its `-e` a child would be the parent's program once more, which starts children; with its `--inspect-brk` it would
 * wait for a debugger on a port that is taken.
 */
const withValue = /^(?:-e|-p|-pe|--eval|--print)$/
const ownOnly = /^--(?:inspect|input-type|watch|test|eval|print)(?:[-=]|$)/

export const inherited = (execArgv: ReadonlyArray<string>): ReadonlyArray<string> => {
  const kept: Array<string> = []
  for (let i = 0; i < execArgv.length; i++) {
    const one = execArgv[i]!
    if (withValue.test(one)) i++
    else if (!ownOnly.test(one)) kept.push(one)
  }
  return kept
}
