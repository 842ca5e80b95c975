/**
 * Taking jobs back, putting dead ones back to work, forgetting.
 *
 * @since 0.1.0
 */
import { holding } from "./claims.ts"
import { entry } from "./planner.ts"

export const abilities: ReadonlyArray<string> = [
  // a job may move while it is looked for: then it is looked for again
  `CREATE FUNCTION {cancel}(p_id text, p_failures int8, p_successes int8) RETURNS text ${entry}
  #variable_conflict use_column
  DECLARE v_now int8 := {now}(); v_j {job}; v_state text; v_expires int8; v_made bool; v_gone bool;
  BEGIN
    FOR attempt IN 1..20 LOOP
      SELECT * INTO v_j FROM {job} WHERE id = p_id;
      IF NOT FOUND THEN RETURN 'NotFound'; END IF;
      SELECT state, expires INTO v_state, v_expires FROM {ended} WHERE num = v_j.num;
      IF FOUND THEN RETURN CASE WHEN v_expires > v_now THEN 'TooLate' ELSE 'NotFound' END; END IF;
      PERFORM {spread}(ARRAY(SELECT fence FROM {claim} WHERE ${holding("v_j.num", "v_j.queue")}));
      UPDATE {active} SET abort = true WHERE num = v_j.num;
      IF FOUND THEN
        PERFORM pg_notify('{$channel}', 'a');
        RETURN 'Requested';
      END IF;
      IF v_j.grp IS NOT NULL THEN
        -- a claim that moves it when it is due looks at the lane after that: in the same order, so that neither waits for
        -- the other
        IF v_j.due IS NOT NULL THEN
          PERFORM FROM {scheduled} WHERE queue = v_j.queue AND due = v_j.due AND num = v_j.num FOR UPDATE;
        END IF;
        -- whoever starts a member holds the lane first, so this waits for no row that a claim has
        INSERT INTO {lane} (queue, grp, lim) VALUES (v_j.queue, v_j.grp, 0) ON CONFLICT (queue, grp) DO NOTHING;
        v_made := FOUND;
        PERFORM FROM {lane} WHERE queue = v_j.queue AND grp = v_j.grp FOR UPDATE;
        CONTINUE WHEN NOT FOUND;
        DELETE FROM {waiting} WHERE queue = v_j.queue AND grp = v_j.grp AND rank = v_j.rank
          AND pos = coalesce(v_j.pos, v_j.num) AND num = v_j.num;
        v_gone := FOUND;
        IF v_gone THEN
          -- it may have run and have gone back to its place since it was read; its turn, if it had one, is the group's
          SELECT due, spent INTO v_j.due, v_j.spent FROM {job} WHERE num = v_j.num;
          DELETE FROM {scheduled} WHERE queue = v_j.queue AND due = v_j.due AND num = v_j.num;
        ELSIF v_made THEN
          -- nobody would look at it
          DELETE FROM {lane} WHERE queue = v_j.queue AND grp = v_j.grp;
        END IF;
      ELSIF v_j.due IS NOT NULL THEN
        DELETE FROM {scheduled} WHERE queue = v_j.queue AND due = v_j.due AND num = v_j.num;
        v_gone := FOUND;
      ELSE
        DELETE FROM {ready} WHERE queue = v_j.queue AND rank = v_j.rank AND pos = coalesce(v_j.pos, v_j.num)
          AND num = v_j.num;
        v_gone := FOUND;
      END IF;
      IF v_gone THEN
        PERFORM {finish}(v_j.num, v_now, v_j.spent, 'aborted', 'cancelled', NULL, 'cancelled', NULL, NULL, NULL, NULL,
          p_failures, p_successes);
        PERFORM pg_notify('{$channel}', 'r');
        PERFORM pg_notify('{$channel}', 'q' || v_j.queue) WHERE v_j.grp IS NOT NULL;
        RETURN 'Cancelled';
      END IF;
    END LOOP;
    RAISE EXCEPTION 'the job moves too fast' USING ERRCODE = 'serialization_failure';
  END $f$`,

  // puts a dead job back, as if it were new but for its history and the time of its enqueue
  `CREATE FUNCTION {revive}(p_num int8) RETURNS bool ${entry}
  #variable_conflict use_column
  DECLARE v_now int8 := {now}(); v_j {job}; v_pos int8;
  BEGIN
    DELETE FROM {ended} WHERE num = p_num AND state = 'dead' AND expires > v_now;
    IF NOT FOUND THEN RETURN false; END IF;
    SELECT * INTO STRICT v_j FROM {job} WHERE num = p_num;
    PERFORM {note}(p_num, v_j.events + 1, v_now, 'redriven', v_j.spent, NULL, NULL);
    -- its key was freed when it died: it takes it again unless another has it by now
    IF v_j.until IN ('started', 'finished') THEN
      DELETE FROM {ukey} WHERE queue = v_j.queue AND key = v_j.ukey AND expires <= v_now;
      INSERT INTO {ukey} (queue, key, num, id) VALUES (v_j.queue, v_j.ukey, p_num, v_j.id)
      ON CONFLICT (queue, key) DO NOTHING;
    END IF;
    v_pos := nextval('{seq}');
    UPDATE {job} SET spent = 0, unsettled = 0, lost_worker = NULL, lost_claimed = NULL, first_failed = NULL,
      abort = false, pos = v_pos, due = NULL, events = v_j.events + 1 WHERE num = p_num;
    IF v_j.grp IS NULL THEN
      INSERT INTO {ready} (queue, rank, pos, num, special)
      VALUES (v_j.queue, v_j.rank, v_pos, p_num, coalesce(v_j.until = 'started', false));
    ELSE
      PERFORM {join}(p_num, v_j.queue, v_j.grp, v_j.rank, v_pos);
    END IF;
    RETURN true;
  END $f$`,

  // dead jobs after the one numbered p_after, up to p_max of them looked at
  `CREATE FUNCTION {redrive}(p_queue int4, p_after int8, p_last int8, p_task text, p_reason text, p_max int4)
  RETURNS TABLE (o_last float8, o_done int4, o_seen int4) ${entry}
  #variable_conflict use_column
  DECLARE r record;
  BEGIN
    o_done := 0; o_seen := 0;
    FOR r IN
      SELECT e.num, j.task = coalesce(p_task, j.task) AND coalesce(e.reason = p_reason, p_reason IS NULL) AS matches
      FROM {ended} e JOIN {job} j ON j.num = e.num
      WHERE e.state = 'dead' AND e.queue = p_queue AND e.num > p_after AND e.num <= p_last ORDER BY e.num LIMIT p_max
    LOOP
      o_seen := o_seen + 1;
      o_last := r.num;
      IF r.matches AND {revive}(r.num) THEN o_done := o_done + 1; END IF;
    END LOOP;
    RETURN NEXT;
  END $f$`,

  `CREATE FUNCTION {purge}(p_queue int4, p_older int8, p_max int4) RETURNS int4 ${entry}
  #variable_conflict use_column
  DECLARE v_now int8 := {now}(); v_nums int8[];
  BEGIN
    v_nums := ARRAY(
      SELECT num FROM {ended} WHERE state = 'dead' AND queue = p_queue AND (p_older IS NULL OR finished < v_now - p_older)
      ORDER BY num LIMIT p_max FOR UPDATE SKIP LOCKED);
    PERFORM {forget}(v_nums);
    RETURN cardinality(v_nums);
  END $f$`,

  // forgets a bounded number of what was kept long enough; several processes do it side by side
  `CREATE FUNCTION {sweep}(p_max int4) RETURNS int4 ${entry}
  #variable_conflict use_column
  DECLARE v_now int8 := {now}(); v_nums int8[]; v_keys int4;
  BEGIN
    v_nums := ARRAY(
      SELECT num FROM {ended} WHERE expires <= v_now ORDER BY expires LIMIT p_max FOR UPDATE SKIP LOCKED);
    IF v_nums <> '{}' THEN PERFORM {forget}(v_nums); END IF;
    DELETE FROM {ukey} WHERE ctid = ANY (ARRAY(
      SELECT ctid FROM {ukey} WHERE expires <= v_now LIMIT p_max FOR UPDATE SKIP LOCKED));
    GET DIAGNOSTICS v_keys = ROW_COUNT;
    -- of processes that are long gone; one that comes back after that makes its row again
    DELETE FROM {session} s WHERE seen < v_now - 86400000 AND expires < v_now
      AND NOT EXISTS (SELECT FROM {active} a WHERE a.session = s.id)
      AND NOT EXISTS (SELECT FROM {claim} c WHERE c.session = s.id);
    RETURN greatest(cardinality(v_nums), v_keys);
  END $f$`,

  // the seat of a leader: the epoch when it was free, else null with the milliseconds that its hold lasts at least
  `CREATE FUNCTION {sit}(p_name text, p_holder int8, p_lease int8)
  RETURNS TABLE (o_epoch float8, o_millis float8) ${entry}
  #variable_conflict use_column
  DECLARE v_now int8;
  BEGIN
    INSERT INTO {leader} (name, epoch, expires) SELECT p_name, 0, 0
    WHERE NOT EXISTS (SELECT FROM {leader} WHERE name = p_name) ON CONFLICT (name) DO NOTHING;
    v_now := {now}();
    UPDATE {leader} SET holder = p_holder, epoch = epoch + 1, expires = v_now + p_lease
    WHERE name = p_name AND expires <= v_now RETURNING epoch INTO o_epoch;
    IF o_epoch IS NULL THEN
      SELECT greatest(expires - v_now, 0) INTO o_millis FROM {leader} WHERE name = p_name;
    END IF;
    RETURN NEXT;
  END $f$`
]
