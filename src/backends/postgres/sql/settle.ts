/**
 * Settling deliveries. The fence is part of every statement that takes a job out of `active`: a stale owner deletes
 * nothing. A job that goes back may go to another queue, rank or group. Leaving a group nudges it, as every end of a run
 * does.
 *
 * @since 0.1.0
 */

/** a job that is snoozed for ever must not grow for ever: only its latest events are kept */
const historyLimit = 256

export const settle: ReadonlyArray<string> = [
  `CREATE FUNCTION {note}(p_num int8, p_n int4, p_at int8, p_event text, p_attempt int4, p_worker text, p_detail text)
  RETURNS void LANGUAGE plpgsql AS $f$
  BEGIN
    INSERT INTO {history} (num, n, at, event, attempt, worker, detail)
    VALUES (p_num, p_n, p_at, p_event, p_attempt, p_worker, p_detail);
    IF p_n > ${historyLimit} THEN DELETE FROM {history} WHERE num = p_num AND n <= p_n - ${historyLimit}; END IF;
  END $f$`,

  // the end of a job that is in no place: it lets go of its key and its group, and is kept or forgotten
  `CREATE FUNCTION {finish}(p_num int8, p_now int8, p_attempt int4, p_state text, p_event text, p_detail text,
    p_reason text, p_error text, p_exit text, p_worker text, p_claimed int8, p_failures int8, p_successes int8)
  RETURNS void LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  DECLARE
    v_queue int4; v_grp text; v_ukey text; v_keep int8; v_events int4; v_result int8; v_expires int8;
  BEGIN
    SELECT queue, grp, ukey, keep, events INTO STRICT v_queue, v_grp, v_ukey, v_keep, v_events
    FROM {job} WHERE num = p_num;
    IF v_grp IS NOT NULL THEN INSERT INTO {nudge} (queue, grp) VALUES (v_queue, v_grp); END IF;
    IF v_ukey IS NOT NULL THEN
      DELETE FROM {ukey} WHERE queue = v_queue AND key = v_ukey AND num = p_num AND expires IS NULL;
    END IF;
    v_result := coalesce(p_now + v_keep, 0);
    v_expires := greatest(
      v_result, p_now + CASE WHEN p_state IN ('dead', 'aborted') THEN p_failures ELSE p_successes END);
    IF v_expires <= p_now THEN
      DELETE FROM {job} WHERE num = p_num;
      IF v_events > 0 THEN DELETE FROM {history} WHERE num = p_num; END IF;
      RETURN;
    END IF;
    PERFORM {note}(p_num, v_events + 1, p_now, p_event, p_attempt, p_worker, p_detail);
    INSERT INTO {ended} (num, queue, state, finished, worker, claimed, reason, exit, expires, result_until)
    VALUES (p_num, v_queue, p_state, p_now, p_worker, p_claimed, p_reason, p_exit, v_expires, v_result);
    UPDATE {job} SET spent = p_attempt, events = v_events + 1, error = p_error, due = NULL, abort = false
    WHERE num = p_num;
  END $f$`,

  // gives a job a key again that it does not have now. Another may have it, or may be about to, in a transaction of the user
  // that nobody waits for: then the job goes on without it
  `CREATE FUNCTION {rekey}(p_queue int4, p_key text, p_num int8, p_now int8) RETURNS void LANGUAGE plpgsql AS $f$
  DECLARE v_patience text := current_setting('lock_timeout');
  BEGIN
    BEGIN
      PERFORM set_config('lock_timeout', '50ms', true);
      DELETE FROM {ukey} WHERE queue = p_queue AND key = p_key AND expires <= p_now;
      INSERT INTO {ukey} (queue, key, num, id)
      SELECT p_queue, p_key, num, id FROM {job} WHERE num = p_num
      ON CONFLICT (queue, key) DO NOTHING;
    EXCEPTION WHEN lock_not_available THEN NULL;
    END;
    PERFORM set_config('lock_timeout', v_patience, true);
  END $f$`,

  // everything but successes that leave nothing behind; returns what became of the items that were not simply settled
  `CREATE FUNCTION {settle_each}(p_items jsonb, p_now int8, p_failures int8, p_successes int8)
  RETURNS TABLE (o_n int4, o_answer text) LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  DECLARE
    r record; v_a {active}; v_queue int4; v_rank int2; v_grp text; v_until text; v_spent int4; v_events int4; v_own int8;
    v_due int8; v_pos int8; v_fronts int8[]; v_front int4 := 0; v_ukey text; v_from int4; v_left text; v_moved bool;
  BEGIN
    FOR r IN
      SELECT * FROM jsonb_to_recordset(p_items) AS x(
        n int4, num int8, fence int8, t text, how text, exit text, reason text, error text, after int8, spent bool,
        front bool, why text, unbegun bool, to_queue text, to_rank int2, to_grp text, regroup bool)
      ORDER BY num, n
    LOOP
      DELETE FROM {active} WHERE num = r.num AND fence = r.fence RETURNING * INTO v_a;
      IF NOT FOUND THEN
        o_n := r.n; o_answer := 'Lost'; RETURN NEXT;
        CONTINUE;
      END IF;
      SELECT queue, rank, grp, until, spent, events, coalesce(pos, num), ukey
      INTO STRICT v_queue, v_rank, v_grp, v_until, v_spent, v_events, v_own, v_ukey FROM {job} WHERE num = r.num;
      IF r.t = 'Complete' THEN
        PERFORM {finish}(r.num, p_now, v_spent + 1, r.how, r.how, r.reason, r.reason, NULL, r.exit,
          v_a.worker, v_a.claimed, p_failures, p_successes);
      ELSIF r.t = 'Dead' THEN
        PERFORM {finish}(r.num, p_now, v_spent + 1, 'dead', 'dead', coalesce(r.error, r.reason), r.reason, r.error, r.exit,
          v_a.worker, v_a.claimed, p_failures, p_successes);
      ELSIF v_a.abort THEN
        PERFORM {finish}(r.num, p_now, v_spent + 1, 'aborted', 'aborted', r.error, 'abort requested', r.error, NULL,
          v_a.worker, v_a.claimed, p_failures, p_successes);
        o_n := r.n; o_answer := 'Aborted'; RETURN NEXT;
      ELSE
        v_due := CASE WHEN r.after > 0 THEN p_now + r.after END;
        -- its claim gave the key back, and it has not started
        IF r.unbegun AND v_ukey IS NOT NULL AND v_until = 'started' THEN
          PERFORM {rekey}(v_queue, v_ukey, r.num, p_now);
        END IF;
        v_from := v_queue; v_left := v_grp; v_moved := false;
        IF r.to_queue IS NOT NULL OR r.to_rank IS NOT NULL OR r.regroup THEN
          v_rank := coalesce(r.to_rank, v_rank);
          IF r.regroup THEN v_grp := r.to_grp; END IF;
          v_queue := {enter}(coalesce(r.to_queue, (SELECT name FROM {queue} WHERE num = v_queue)), true,
            v_grp IS NOT NULL OR coalesce(v_until = 'started', false), ARRAY[v_rank]);
          v_moved := v_queue <> v_from OR v_grp IS DISTINCT FROM v_left;
          IF v_moved AND v_left IS NOT NULL THEN
            INSERT INTO {nudge} (queue, grp) VALUES (v_from, v_left);
          END IF;
          IF v_queue <> v_from AND v_ukey IS NOT NULL THEN
            DELETE FROM {ukey} WHERE queue = v_from AND key = v_ukey AND num = r.num AND expires IS NULL;
            IF FOUND THEN PERFORM {rekey}(v_queue, v_ukey, r.num, p_now); END IF;
          END IF;
        END IF;
        IF v_grp IS NOT NULL THEN
          -- a member keeps its place; where it has come from elsewhere it is the youngest
          v_pos := CASE WHEN v_moved THEN nextval('{seq}') ELSE v_own END;
        ELSIF NOT r.front THEN
          v_pos := nextval('{seq}');
        ELSE
          -- those that go to the front together keep their order there
          IF v_fronts IS NULL THEN
            v_fronts := ARRAY(SELECT nextval('{seq}') FROM generate_series(1, jsonb_array_length(p_items)));
          END IF;
          v_pos := -v_fronts[cardinality(v_fronts) - v_front];
          v_front := v_front + 1;
        END IF;
        PERFORM {note}(r.num, v_events + 1, p_now, r.why, v_spent + 1, v_a.worker, r.error);
        UPDATE {job} SET spent = spent + r.spent::int4,
          unsettled = CASE WHEN r.unbegun THEN unsettled ELSE 0 END,
          lost_worker = CASE WHEN r.unbegun THEN lost_worker END,
          lost_claimed = CASE WHEN r.unbegun THEN lost_claimed END,
          first_failed = coalesce(first_failed, CASE WHEN r.why = 'failed' THEN p_now END),
          error = coalesce(r.error, error), events = v_events + 1, pos = v_pos, due = v_due, front = r.front, abort = false,
          queue = v_queue, rank = v_rank, grp = v_grp
        WHERE num = r.num;
        IF v_due IS NOT NULL THEN
          INSERT INTO {scheduled} (queue, due, num) VALUES (v_queue, v_due, r.num);
        ELSIF v_grp IS NULL THEN
          INSERT INTO {ready} (queue, rank, pos, num, special)
          VALUES (v_queue, v_rank, v_pos, r.num, coalesce(v_until = 'started', false));
        END IF;
        IF v_grp IS NOT NULL AND v_moved THEN
          PERFORM {join}(r.num, v_queue, v_grp, v_rank, v_pos);
        ELSIF v_grp IS NOT NULL THEN
          INSERT INTO {waiting} (queue, grp, rank, pos, num) VALUES (v_queue, v_grp, v_rank, v_pos, r.num);
          INSERT INTO {nudge} (queue, grp) VALUES (v_queue, v_grp);
        END IF;
      END IF;
    END LOOP;
  END $f$`
]
