/**
 * Running jobs that were claimed together, as one row instead of one each: most batches are settled as they were claimed, and
 * then two rows of every job need not be written. Only jobs stand there of which nothing is known but that they run: no
 * group, key, history or result, no abort, no lease of their own. Whoever has something to say about one of them spreads the
 * claim first, into the rows of `active` that it stands for, and goes on with those. A claim's row is never changed and never
 * comes back, so that who waited for it finds it gone and its jobs in `active`, or settled.
 *
 * @since 0.1.0
 */

/** jobs that a claim has at least which is one row: fewer often end together by chance */
export const least = 8

const columns = "num, fence, claimed, session, queue, abort, worker"

/** taken out in the order of their fences, so that two who take out several never wait for each other crosswise */
const taken = (fences: string) =>
  `DELETE FROM {claim} WHERE ctid = ANY (ARRAY(
    SELECT ctid FROM {claim} WHERE fence = ANY (${fences}) ORDER BY fence FOR UPDATE)) RETURNING *`

/** the claims that hold a job, in a statement that knows its number and its queue */
export const holding = (num: string, queue: string) =>
  `queue = ${queue} AND ${num} BETWEEN low AND high AND nums @> ARRAY[${num}]`

export const claims: ReadonlyArray<string> = [
  `CREATE FUNCTION {spread}(p_fences int8[]) RETURNS void LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  BEGIN
    IF p_fences = '{}' THEN RETURN; END IF;
    WITH c AS (${taken("p_fences")})
    INSERT INTO {active} (${columns})
    SELECT num, fence, claimed, session, queue, false, worker FROM c CROSS JOIN LATERAL unnest(nums) AS x(num);
  END $f$`,

  // successes that leave nothing behind, of claims that may be one row: returns those of them that were. What else was
  // claimed with them goes to `active`. p_claims ascending; p_ends: where in p_nums the jobs of each end, ascending
  `CREATE FUNCTION {settle_claims}(p_claims int8[], p_ends int4[], p_nums int8[]) RETURNS int8[] LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  DECLARE r record; v_n int4 := 1; v_some int8[]; v_done int8[] := '{}';
  BEGIN
    FOR r IN WITH c AS (${taken("p_claims")}) SELECT * FROM c ORDER BY fence LOOP
      WHILE p_claims[v_n] < r.fence LOOP v_n := v_n + 1; END LOOP;
      v_some := p_nums[coalesce(p_ends[v_n - 1], 0) + 1 : p_ends[v_n]];
      IF v_some <> r.nums THEN
        v_some := ARRAY(SELECT unnest(v_some) INTERSECT SELECT unnest(r.nums));
        INSERT INTO {active} (${columns})
        SELECT num, r.fence, r.claimed, r.session, r.queue, false, r.worker
        FROM (SELECT unnest(r.nums) EXCEPT SELECT unnest(v_some)) AS x(num);
      END IF;
      v_done := v_done || v_some;
    END LOOP;
    DELETE FROM {job} WHERE num = ANY (v_done);
    RETURN v_done;
  END $f$`
]
