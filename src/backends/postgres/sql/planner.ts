/**
 * How the planner is to treat the functions. Their plans are made once per connection, often while the tables are empty,
 * and are kept while the tables grow to millions of rows, so what they need is said and not left to statistics: indexes
 * and nested loops, for every statement is about the few rows of one batch.
 *
 * @since 0.1.0
 */

/** for functions that are called from outside; what they call runs under the same settings */
export const entry = `LANGUAGE plpgsql SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
  SET plan_cache_mode = force_generic_plan SET jit = off AS $f$`

/** for those that look through a whole table, which is small */
export const whole = `LANGUAGE plpgsql SET enable_seqscan = on SET enable_hashjoin = on AS $f$`
