/**
 * Groups: members run one at a time, by rank, then position. All that wait stand in `waiting`; the head stands in `ready`
 * as well when it is not scheduled and no other runs, and that is the group's turn (at a new position: where it stands in
 * its group is below what claims look at). Whatever may change a turn leaves a row in `nudge`; the next claim, whoever
 * makes it, looks at the groups that are named there. It never waits for a lane that somebody else is looking at: the
 * nudge stays then.
 *
 * @since 0.1.0
 */

export const groups: ReadonlyArray<string> = [
  // gives the turn to whom it belongs now; the caller holds the lane
  `CREATE FUNCTION {give_turn}(p_queue int4, p_grp text) RETURNS void LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  DECLARE
    v_lane {lane}; v_num int8; v_rank int2; v_pos int8 := NULL; v_due int8;
  BEGIN
    SELECT * INTO STRICT v_lane FROM {lane} WHERE queue = p_queue AND grp = p_grp;
    -- a job that went elsewhere may run there by now: it is no member any more
    IF v_lane.running IS NOT NULL AND NOT EXISTS (
      SELECT FROM {active} a JOIN {job} j ON j.num = a.num
      WHERE a.num = v_lane.running AND j.queue = p_queue AND j.grp = p_grp)
    THEN
      v_lane.running := NULL;
    END IF;
    SELECT w.num, w.rank, j.due INTO v_num, v_rank, v_due
    FROM {waiting} w JOIN {job} j ON j.num = w.num
    WHERE w.queue = p_queue AND w.grp = p_grp ORDER BY w.rank, w.pos LIMIT 1;
    IF v_lane.running IS NOT NULL OR v_due IS NOT NULL THEN v_num := NULL; END IF;
    IF v_lane.turn IS DISTINCT FROM v_num AND v_lane.turn IS NOT NULL THEN
      DELETE FROM {ready} WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM {ready}
        WHERE queue = p_queue AND rank = v_lane.turn_rank AND pos = v_lane.turn_pos AND num = v_lane.turn
        FOR UPDATE SKIP LOCKED));
      -- it is being claimed right now: it had its turn
      IF NOT FOUND AND EXISTS (
        SELECT FROM {ready} WHERE queue = p_queue AND rank = v_lane.turn_rank AND pos = v_lane.turn_pos)
      THEN RETURN; END IF;
    END IF;
    IF v_num IS NULL AND v_lane.running IS NULL
      AND NOT EXISTS (SELECT FROM {waiting} WHERE queue = p_queue AND grp = p_grp)
    THEN
      DELETE FROM {lane} WHERE queue = p_queue AND grp = p_grp;
    ELSIF v_lane.turn IS NOT DISTINCT FROM v_num THEN
      UPDATE {lane} SET running = v_lane.running WHERE queue = p_queue AND grp = p_grp;
    ELSE
      IF v_num IS NOT NULL THEN
        v_pos := nextval('{seq}');
        INSERT INTO {ready} (queue, rank, pos, num, special) VALUES (p_queue, v_rank, v_pos, v_num, true);
      END IF;
      UPDATE {lane} SET running = v_lane.running, turn = v_num,
        turn_rank = CASE WHEN v_num IS NOT NULL THEN v_rank END, turn_pos = v_pos
      WHERE queue = p_queue AND grp = p_grp;
    END IF;
  END $f$`,

  // looks at the groups that were nudged; false when some were left to others
  `CREATE FUNCTION {turn}(p_queue int4) RETURNS bool LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  DECLARE v_grp text; v_n int8; v_all bool := true;
  BEGIN
    FOR v_grp, v_n IN
      SELECT grp, max(n) FROM (SELECT grp, n FROM {nudge} WHERE queue = p_queue ORDER BY n LIMIT 500) x
      GROUP BY grp ORDER BY grp
    LOOP
      INSERT INTO {lane} (queue, grp) SELECT p_queue, v_grp
      WHERE NOT EXISTS (SELECT FROM {lane} WHERE queue = p_queue AND grp = v_grp)
      ON CONFLICT (queue, grp) DO NOTHING;
      PERFORM FROM {lane} WHERE queue = p_queue AND grp = v_grp FOR UPDATE SKIP LOCKED;
      IF FOUND THEN
        -- before the look: what comes after it leaves a nudge of its own
        DELETE FROM {nudge} WHERE queue = p_queue AND grp = v_grp AND n <= v_n;
        PERFORM {give_turn}(p_queue, v_grp);
      ELSE
        v_all := false;
      END IF;
    END LOOP;
    RETURN v_all;
  END $f$`,

  // the member is claimed; false when its lane is being looked at by somebody else, or the turn is another's by now
  `CREATE FUNCTION {start_turn}(p_queue int4, p_grp text, p_num int8, p_rank int2, p_pos int8)
  RETURNS bool LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  BEGIN
    PERFORM FROM {lane} WHERE queue = p_queue AND grp = p_grp AND turn = p_num FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE {lane} SET running = p_num, turn = NULL, turn_rank = NULL, turn_pos = NULL
    WHERE queue = p_queue AND grp = p_grp;
    DELETE FROM {waiting} WHERE queue = p_queue AND grp = p_grp AND rank = p_rank AND pos = p_pos;
    RETURN true;
  END $f$`
]
