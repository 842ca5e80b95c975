/**
 * What the backend's things are called in the database: one schema, and a prefix for people who must share one. SQL is
 * written with `{name}` for each of them.
 *
 * @since 0.1.0
 */

/** plain names need no quotes in a DBA's own queries, and leave room for the longest of ours within 63 bytes */
const plain = /^[a-z_][a-z0-9_]*$/
const longestSchema = 40
const longestPrefix = 20

export interface Names {
  readonly schema: string
  readonly prefix: string
  /** of `NOTIFY` */
  readonly channel: string
  /** replaces `{name}` by the qualified name, and `{$channel}` by the channel */
  readonly sql: (text: string) => string
}

/** what is wrong with the names, if anything */
export const namesRefused = (schema: string, prefix: string): string | undefined => {
  if (!plain.test(schema) || schema.length > longestSchema || schema.startsWith("pg_")) {
    return `the schema "${schema}" cannot be used: take up to ${longestSchema} lower case letters, digits and ` +
      `underscores, with no digit and no "pg_" at the beginning`
  }
  if (prefix !== "" && (!plain.test(prefix) || prefix.length > longestPrefix)) {
    return `the prefix "${prefix}" cannot be used: take up to ${longestPrefix} lower case letters, digits and ` +
      `underscores, with no digit at the beginning`
  }
  if (/^[opv]_/.test(prefix)) {
    return `the prefix "${prefix}" cannot be used: our functions have parameters and variables that begin with "o_", "p_" and ` +
      `"v_", which a table with that prefix would hide: take another one`
  }
  return undefined
}

export const make = (schema: string, prefix: string): Names => {
  const channel = `${schema}.${prefix}`
  return {
    schema,
    prefix,
    channel,
    sql: (text) =>
      text
        .replaceAll("{$channel}", channel)
        .replaceAll("{$schema}", `"${schema}"`)
        .replaceAll(/\{([a-z_]+)\}/g, (_, name: string) => `"${schema}"."${prefix}${name}"`)
  }
}
