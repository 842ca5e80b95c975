/**
 * What time alone moves: jobs that became due go among the ready, jobs whose owner let the lease run out go to the front.
 * No leader does it: a claim does, now and then, and passes over what another claim is moving.
 *
 * @since 0.1.0
 */
import { entry, whole } from "./planner.ts"

/** the end of a lease: its own, or its session's, which is counted from the claim at least */
const ranOut = `(a.lease <= p_now OR (
  a.lease IS NULL AND a.claimed <= p_now - coalesce(s.millis, p_lease) AND coalesce(s.expires, 0) <= p_now))`

/** claims that are spread at a time */
const spread = 4

export const move: ReadonlyArray<string> = [
  `CREATE FUNCTION {promote}(p_queue int4, p_now int8, p_max int4) RETURNS void LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  BEGIN
    WITH d AS (
      DELETE FROM {scheduled} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {scheduled} WHERE queue = p_queue AND due <= p_now
        ORDER BY due, num LIMIT p_max FOR UPDATE SKIP LOCKED))
      RETURNING due, num),
    o AS (SELECT num, nextval('{seq}') AS pos FROM (SELECT num FROM d ORDER BY due, num) x),
    u AS (
      UPDATE {job} j SET due = NULL, front = false,
        pos = CASE WHEN j.grp IS NOT NULL THEN j.pos WHEN j.front THEN -o.pos ELSE o.pos END
      FROM o WHERE j.num = o.num
      RETURNING j.num, j.rank, j.pos, j.grp, j.until),
    n AS (INSERT INTO {nudge} (queue, grp) SELECT DISTINCT p_queue, grp FROM u WHERE grp IS NOT NULL)
    INSERT INTO {ready} (queue, rank, pos, num, special)
    SELECT p_queue, rank, pos, num, coalesce(until = 'started', false) FROM u WHERE grp IS NULL;
  END $f$`,

  // read only: running jobs of the queue whose lease ran out
  `CREATE FUNCTION {ran_out}(p_queue int4, p_now int8, p_lease int8, p_max int4) RETURNS int8[] ${whole}
  BEGIN
    RETURN ARRAY(
      SELECT a.num FROM {active} a LEFT JOIN {session} s ON s.id = a.session
      WHERE a.queue = p_queue AND ${ranOut} LIMIT p_max);
  END $f$`,

  `CREATE FUNCTION {reclaim}(p_queue int4, p_now int8, p_lease int8, p_max int4) RETURNS void LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  DECLARE v_sessions int8[]; v_nums int8[];
  BEGIN
    PERFORM {spread}(ARRAY(
      SELECT a.fence FROM (SELECT *, NULL::int8 AS lease FROM {claim}) a LEFT JOIN {session} s ON s.id = a.session
      WHERE a.queue = p_queue AND ${ranOut} LIMIT ${spread} FOR UPDATE OF a SKIP LOCKED));
    v_nums := {ran_out}(p_queue, p_now, p_lease, p_max);
    IF cardinality(v_nums) = 0 THEN RETURN; END IF;
    -- a heartbeat holds its session's row: whoever has it first decides
    v_sessions := ARRAY(
      SELECT id FROM {session} WHERE id IN (SELECT session FROM {active} WHERE num = ANY (v_nums)) AND expires <= p_now
      ORDER BY id FOR UPDATE SKIP LOCKED);
    WITH x AS (
      DELETE FROM {active} WHERE ctid = ANY (ARRAY(
        SELECT a.ctid FROM {active} a LEFT JOIN {session} s ON s.id = a.session
        WHERE a.num = ANY (v_nums) AND ${ranOut}
          AND (a.lease IS NOT NULL OR s.id IS NULL OR s.id = ANY (v_sessions))
        FOR UPDATE OF a SKIP LOCKED))
      RETURNING num, claimed, worker, abort),
    o AS (SELECT num, nextval('{seq}') AS pos FROM (SELECT num FROM x ORDER BY claimed DESC, num DESC) y),
    u AS (
      UPDATE {job} j SET unsettled = j.unsettled + 1, lost_worker = x.worker, lost_claimed = x.claimed,
        abort = x.abort, events = j.events + 1, pos = CASE WHEN j.grp IS NULL THEN -o.pos ELSE j.pos END
      FROM x JOIN o USING (num) WHERE j.num = x.num
      RETURNING j.num, j.rank, j.pos, j.grp, j.until, j.events, j.spent, x.worker),
    h AS (
      INSERT INTO {history} (num, n, at, event, attempt, worker)
      SELECT num, events, p_now, 'lost', spent + 1, worker FROM u),
    w AS (
      INSERT INTO {waiting} (queue, grp, rank, pos, num)
      SELECT p_queue, grp, rank, coalesce(pos, num), num FROM u WHERE grp IS NOT NULL),
    n AS (INSERT INTO {nudge} (queue, grp) SELECT DISTINCT p_queue, grp FROM u WHERE grp IS NOT NULL)
    INSERT INTO {ready} (queue, rank, pos, num, special)
    SELECT p_queue, rank, pos, num, coalesce(until = 'started', false) FROM u WHERE grp IS NULL;
  END $f$`,

  // before somebody looks at a queue: what is due counts as ready, and turns are given
  `CREATE FUNCTION {settle_down}(p_queue int4) RETURNS void ${entry}
  #variable_conflict use_column
  DECLARE v_now int8 := {now}();
  BEGIN
    IF EXISTS (SELECT FROM {scheduled} WHERE queue = p_queue AND due <= v_now) THEN
      PERFORM {promote}(p_queue, v_now, 10000);
    END IF;
    IF EXISTS (SELECT FROM {nudge} WHERE queue = p_queue) THEN PERFORM {look}(p_queue); END IF;
  END $f$`
]
