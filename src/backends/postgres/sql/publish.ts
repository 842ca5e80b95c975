/**
 * Storing jobs. Runs in the caller's transaction if there is one, so it takes no lock that a claim or a settlement of
 * other jobs could wait for: it inserts rows of its own, ids and keys in sorted order so that two batches never wait for
 * each other crosswise.
 *
 * @since 0.1.0
 */
import { entry } from "./planner.ts"

/** the optional fields of an item, by its number in the batch */
const extra = `jsonb_to_recordset(p_extra) AS e(
  n int4, due int8, after int8, rank int2, grp text, lim int4, ukey text, until text, lasts int8, keep int8)`

/** somebody has the key that the item asks for */
const held = "u.queue = p_queue AND u.key = e.ukey AND (e.lasts IS NULL OR e.lasts > 0) " +
  "AND (u.expires IS NULL OR u.expires > p_now)"

/** p_tasks, p_versions, p_origins: one for all items, or one each; p_headers: null when none has any */
export const parameters =
  `p_queue int4, p_ids text[], p_tasks text[], p_versions int4[], p_origins text[], p_headers text[],
  p_payloads text[], p_extra jsonb, p_hint text`

/** what every job has: as it is stored, and as it is given. Where an array is shorter than that of the ids there are nulls */
const plain = "num, id, queue, task, version, origin, headers, payload, rank, enqueued"
const columns =
  "p_queue, coalesce(task, p_tasks[1]), coalesce(version, p_versions[1]), coalesce(origin, p_origins[1]), " +
  "headers, payload"
const given = "p_ids, p_tasks, p_versions, p_origins, p_headers, p_payloads"
const names = "id, task, version, origin, headers, payload"

export const publish: ReadonlyArray<string> = [
  // removes every trace of a job that is in no place
  `CREATE FUNCTION {forget}(p_nums int8[]) RETURNS void LANGUAGE plpgsql AS $f$
  BEGIN
    DELETE FROM {ended} WHERE num = ANY (p_nums);
    DELETE FROM {history} WHERE num = ANY (p_nums);
    DELETE FROM {job} WHERE num = ANY (p_nums);
  END $f$`,

  // an ended job that is merely kept makes room for a new one with its id; a dead letter does not, and nothing does for
  // one that another job's key keeps out: what is refused changes nothing
  `CREATE FUNCTION {make_room}(p_queue int4, p_ids text[], p_extra jsonb, p_now int8) RETURNS bool ${entry}
  #variable_conflict use_column
  DECLARE v_nums int8[];
  BEGIN
    v_nums := ARRAY(
      SELECT d.num FROM {job} j JOIN {ended} d ON d.num = j.num
      WHERE j.id = ANY (p_ids) AND (d.state <> 'dead' OR d.expires <= p_now) AND (p_extra IS NULL OR EXISTS (
        SELECT FROM unnest(p_ids) WITH ORDINALITY AS i(id, n) LEFT JOIN ${extra} ON e.n = i.n
        WHERE i.id = j.id AND NOT EXISTS (SELECT FROM {ukey} u WHERE ${held})))
      ORDER BY d.num FOR UPDATE OF d);
    PERFORM {forget}(v_nums);
    RETURN cardinality(v_nums) > 0;
  END $f$`,

  // who keeps an item out by its key, if it is not a job with its id that does
  `CREATE FUNCTION {key_holder}(p_queue int4, p_n int4, p_id text, p_extra jsonb, p_now int8) RETURNS text ${entry}
  #variable_conflict use_column
  BEGIN
    IF p_extra IS NULL OR NOT EXISTS (
      SELECT FROM {job} j JOIN {ended} d ON d.num = j.num
      WHERE j.id = p_id AND (d.state <> 'dead' OR d.expires <= p_now))
    THEN RETURN NULL; END IF;
    RETURN (SELECT u.id FROM ${extra} JOIN {ukey} u ON ${held} WHERE e.n = p_n);
  END $f$`,

  // gives each stored job its key; jobs whose key another has are taken back and returned with the holder's id
  `CREATE FUNCTION {take_keys}(p_queue int4, p_nums int8[], p_extra jsonb, p_now int8)
  RETURNS TABLE (o_n int4, o_existing text) ${entry}
  #variable_conflict use_column
  BEGIN
    -- a window of no length is over at once
    DELETE FROM {ukey} WHERE ctid = ANY (ARRAY(
      SELECT u.ctid FROM {ukey} u WHERE u.queue = p_queue AND u.expires <= p_now
        AND u.key IN (SELECT e.ukey FROM ${extra} WHERE e.ukey IS NOT NULL)
      ORDER BY u.key FOR UPDATE));
    FOR attempt IN 1..10 LOOP
      INSERT INTO {ukey} (queue, key, num, id, expires)
      SELECT p_queue, x.ukey, x.num, x.id, x.expires FROM (
        SELECT DISTINCT ON (j.ukey) j.ukey, j.num, j.id, p_now + e.lasts AS expires
        FROM ${extra} JOIN {job} j ON j.num = p_nums[e.n]
        WHERE e.ukey IS NOT NULL AND (e.lasts IS NULL OR e.lasts > 0)
        ORDER BY j.ukey, j.num) x
      ORDER BY x.ukey ON CONFLICT (queue, key) DO NOTHING;
      -- who had it may have let go since
      EXIT WHEN NOT EXISTS (
        SELECT FROM ${extra} JOIN {job} j ON j.num = p_nums[e.n]
        WHERE e.ukey IS NOT NULL AND (e.lasts IS NULL OR e.lasts > 0)
          AND NOT EXISTS (SELECT FROM {ukey} u WHERE u.queue = p_queue AND u.key = j.ukey));
      IF attempt = 10 THEN
        RAISE EXCEPTION 'the unique keys of a batch change hands too fast' USING ERRCODE = 'serialization_failure';
      END IF;
    END LOOP;
    RETURN QUERY
    WITH gone AS (
      DELETE FROM {job} WHERE num IN (
        SELECT j.num FROM ${extra} JOIN {job} j ON j.num = p_nums[e.n]
        JOIN {ukey} u ON u.queue = p_queue AND u.key = j.ukey
        WHERE u.num <> j.num AND (e.lasts IS NULL OR e.lasts > 0))
      RETURNING num, ukey)
    SELECT array_position(p_nums, gone.num), u.id
    FROM gone JOIN {ukey} u ON u.queue = p_queue AND u.key = gone.ukey;
  END $f$`,

  // returns the items that were not stored, by number from 1, with the id of the job in the way
  `CREATE FUNCTION {publish}(${parameters}) RETURNS TABLE (o_n int4, o_existing text) ${entry}
  #variable_conflict use_column
  DECLARE
    v_now int8 := {now}();
    v_count int4 := cardinality(p_ids);
    v_nums int8[] := ARRAY(SELECT nextval('{seq}') FROM generate_series(1, cardinality(p_ids)));
    v_stored int4 := 0;
    v_more int4;
  BEGIN
    LOOP
      IF p_extra IS NULL THEN
        WITH j AS (
          INSERT INTO {job} (${plain})
          SELECT num, id, ${columns}, 0, v_now FROM unnest(v_nums, ${given}) AS x(num, ${names})
          ORDER BY id, num ON CONFLICT (id) DO NOTHING RETURNING num)
        INSERT INTO {ready} (queue, rank, pos, num, special) SELECT p_queue, 0, num, num, false FROM j;
      ELSE
        INSERT INTO {job} (${plain}, due, scheduled_for, grp, grp_limit, ukey, until, keep)
        SELECT x.num, x.id, ${columns}, coalesce(e.rank, 0::int2), v_now,
          w.due, w.due, e.grp, e.lim, e.ukey, e.until, e.keep
        FROM unnest(v_nums, ${given}) WITH ORDINALITY AS x(num, ${names}, n)
        LEFT JOIN ${extra} ON e.n = x.n
        CROSS JOIN LATERAL (SELECT CASE WHEN e.due > v_now THEN e.due WHEN e.after > 0 THEN v_now + e.after END) AS w(due)
        ORDER BY x.id, x.num ON CONFLICT (id) DO NOTHING;
      END IF;
      GET DIAGNOSTICS v_more = ROW_COUNT;
      v_stored := v_stored + v_more;
      EXIT WHEN v_stored = v_count;
      EXIT WHEN NOT {make_room}(p_queue, p_ids, p_extra, v_now);
    END LOOP;
    IF v_stored < v_count THEN
      RETURN QUERY
      SELECT x.n::int4, coalesce({key_holder}(p_queue, x.n::int4, x.id, p_extra, v_now), x.id)
      FROM unnest(p_ids, v_nums) WITH ORDINALITY AS x(id, num, n)
      WHERE NOT EXISTS (SELECT FROM {job} j WHERE j.num = x.num);
    END IF;
    IF p_extra IS NOT NULL THEN
      IF EXISTS (SELECT FROM ${extra} WHERE e.ukey IS NOT NULL) THEN
        RETURN QUERY SELECT * FROM {take_keys}(p_queue, v_nums, p_extra, v_now);
      END IF;
      INSERT INTO {ready} (queue, rank, pos, num, special)
      SELECT queue, rank, num, num, coalesce(until = 'started', false) FROM {job}
      WHERE num = ANY (v_nums) AND due IS NULL AND grp IS NULL;
      INSERT INTO {scheduled} (queue, due, num)
      SELECT queue, due, num FROM {job} WHERE num = ANY (v_nums) AND due IS NOT NULL;
      INSERT INTO {waiting} (queue, grp, rank, pos, num)
      SELECT queue, grp, rank, num, num FROM {job} WHERE num = ANY (v_nums) AND grp IS NOT NULL;
      -- what the last one says counts
      INSERT INTO {nudge} (queue, grp, lim)
      SELECT DISTINCT ON (grp) queue, grp, coalesce(grp_limit, 1) FROM {job}
      WHERE num = ANY (v_nums) AND grp IS NOT NULL ORDER BY grp, num DESC;
    END IF;
    IF p_hint IS NOT NULL THEN PERFORM pg_notify('{$channel}', p_hint); END IF;
  END $f$`,

  // the same for items without extras whose ids nobody is expected to have: it looks for none, and begins again with care
  // when there is one. Not for transactions of users, who would have a subtransaction for each call
  `CREATE FUNCTION {publish_new}(${parameters}) RETURNS TABLE (o_n int4, o_existing text) ${entry}
  #variable_conflict use_column
  DECLARE v_now int8 := {now}();
  BEGIN
    BEGIN
      WITH j AS (
        INSERT INTO {job} (${plain})
        SELECT num, id, ${columns}, 0, v_now
        -- numbered before they are sorted
        FROM (SELECT nextval('{seq}') AS num, * FROM unnest(${given}) AS x(${names})) x
        ORDER BY id RETURNING num)
      INSERT INTO {ready} (queue, rank, pos, num, special) SELECT p_queue, 0, num, num, false FROM j;
      IF p_hint IS NOT NULL THEN PERFORM pg_notify('{$channel}', p_hint); END IF;
      RETURN;
    EXCEPTION WHEN unique_violation THEN NULL;
    END;
    RETURN QUERY SELECT * FROM {publish}(p_queue, ${given}, NULL, p_hint);
  END $f$`,

  // all or nothing: a duplicate takes the others back, and is still reported
  `CREATE FUNCTION {publish_whole}(${parameters}) RETURNS TABLE (o_n int4, o_existing text) ${entry}
  #variable_conflict use_column
  DECLARE v_n int4[]; v_existing text[];
  BEGIN
    BEGIN
      SELECT array_agg(o_n), array_agg(o_existing) INTO v_n, v_existing
      FROM {publish}(p_queue, ${given}, p_extra, p_hint);
      IF v_n IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = 'WL001'; END IF;
    EXCEPTION WHEN SQLSTATE 'WL001' THEN NULL;
    END;
    RETURN QUERY SELECT * FROM unnest(v_n, v_existing);
  END $f$`,

  // the queue's number; makes the queue, and notes what its jobs need
  `CREATE FUNCTION {enter}(p_name text, p_used bool, p_special bool, p_ranks int2[])
  RETURNS int4 LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  DECLARE v_num int4;
  BEGIN
    SELECT num INTO v_num FROM {queue} WHERE name = p_name;
    IF v_num IS NULL THEN
      INSERT INTO {queue} (name) VALUES (p_name) ON CONFLICT (name) DO NOTHING;
      SELECT num INTO STRICT v_num FROM {queue} WHERE name = p_name;
    END IF;
    UPDATE {queue} SET used = used OR p_used, special = special OR p_special,
      ranks = ARRAY(SELECT unnest(ranks) UNION SELECT unnest(p_ranks) ORDER BY 1)
    WHERE num = v_num AND NOT (used >= p_used AND special >= p_special AND ranks @> p_ranks);
    RETURN v_num;
  END $f$`
]
