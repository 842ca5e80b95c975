/**
 * Holding on to running jobs. A subscription has one row in `session`, and a heartbeat that names all that the
 * subscription holds renews this row alone. A running job of the session that is not named (its claim's answer was lost,
 * or its worker gave it up) keeps the end that its lease had, as a lease of its own: so it is not kept alive by the
 * others.
 *
 * @since 0.1.0
 */
import { entry, whole } from "./planner.ts"

export const hold: ReadonlyArray<string> = [
  // what is returned is held; the others are lost
  `CREATE FUNCTION {extend}(p_session int8, p_worker text, p_lease int8, p_nums int8[], p_fences int8[])
  RETURNS TABLE (o_num float8, o_fence float8, o_abort bool) ${whole}
  #variable_conflict use_column
  DECLARE v_now int8; v_old int8; v_known bool;
  BEGIN
    SELECT expires INTO v_old FROM {session} WHERE id = p_session FOR UPDATE;
    v_known := FOUND;
    PERFORM {spread}(ARRAY(SELECT fence FROM {claim} WHERE session = p_session OR fence = ANY (p_fences)));
    -- after the wait for the row
    v_now := {now}();
    IF v_known THEN
      UPDATE {active} a SET lease = greatest(a.claimed + p_lease, v_old)
      WHERE a.session = p_session AND a.lease IS NULL AND NOT EXISTS (
        SELECT FROM unnest(p_nums, p_fences) AS x(num, fence) WHERE x.num = a.num AND x.fence = a.fence);
      UPDATE {session} SET expires = v_now + p_lease, millis = p_lease, seen = v_now WHERE id = p_session;
    ELSE
      INSERT INTO {session} (id, expires, millis, seen, worker)
      VALUES (p_session, v_now + p_lease, p_lease, v_now, p_worker) ON CONFLICT (id) DO NOTHING;
    END IF;
    UPDATE {active} a SET lease = v_now + p_lease
    FROM unnest(p_nums, p_fences) AS x(num, fence)
    WHERE a.num = x.num AND a.fence = x.fence
      AND (a.lease IS NOT NULL OR a.session <> p_session OR NOT v_known);
    RETURN QUERY
    SELECT a.num::float8, a.fence::float8, a.abort
    FROM unnest(p_nums, p_fences) AS x(num, fence) JOIN {active} a ON a.num = x.num AND a.fence = x.fence;
  END $f$`,

  `CREATE FUNCTION {progress}(p_num int8, p_fence int8, p_value text) RETURNS bool ${entry}
  #variable_conflict use_column
  BEGIN
    PERFORM {spread}(ARRAY[p_fence]);
    PERFORM FROM {active} WHERE num = p_num AND fence = p_fence FOR KEY SHARE;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE {job} SET progress = p_value WHERE num = p_num;
    RETURN true;
  END $f$`
]
