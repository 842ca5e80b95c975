/**
 * Groups: members start in order, by rank, then position, and no more run at once than the group's limit allows. All that
 * wait stand in `waiting`; the first of them, as many as there are places free, have their turn. One of these that is
 * scheduled holds its place. For each of the others there is a turn in `ready`, at a new position (where a member stands in
 * its group is below what claims look at). A turn is the group's and no member's: whoever claims it starts the first who
 * may, so members start in order however claims overtake each other.
 *
 * Whatever may change turns leaves a row in `nudge`, an enqueue with the limit that it names; the next claim, whoever makes
 * it, looks at the groups that are named there, before it starts any. It never waits for a lane that somebody else is
 * looking at: then the nudge stays, and the claim starts no member of that group, whose limit may have become less.
 *
 * @since 0.1.0
 */
import { entry } from "./planner.ts"

/** nudges seen in one look */
const most = 500
/** turns of one group that stand in ready: more are given when these are taken, so that no look is about a whole backlog */
const given = 100

const ofGroup = "queue = p_queue AND grp = p_grp"

const running = `(SELECT count(*) FROM {active} WHERE ${ofGroup})`

/** whether it gives back a key at its start */
const key = "coalesce(j.until = 'started', false)"

/** the members for whom there is a place and who are not scheduled, in order */
const first = (free: string) =>
  `FROM (SELECT ctid, num, rank, pos FROM {waiting} WHERE ${ofGroup} ORDER BY rank, pos LIMIT greatest(${free}, 0)) w
      JOIN {job} j ON j.num = w.num
      WHERE j.due IS NULL ORDER BY w.rank, w.pos`

export const groups: ReadonlyArray<string> = [
  // gives the turns to whom they belong now; the caller holds the lane. True: there were none before
  `CREATE FUNCTION {give_turns}(p_queue int4, p_grp text, p_lim int4) RETURNS bool LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  DECLARE v_running int4; v_nums int8[]; v_ranks int2[]; v_keys bool[]; v_given int2[];
  BEGIN
    SELECT a.n, w.nums, w.ranks, w.keys, (SELECT array_agg(rank ORDER BY rank) FROM {ready} WHERE ${ofGroup})
    INTO v_running, v_nums, v_ranks, v_keys, v_given
    FROM ${running.replace("count(*)", "count(*) AS n")} a CROSS JOIN LATERAL (
      SELECT array_agg(num) AS nums, array_agg(rank) AS ranks, array_agg(key) AS keys FROM (
      SELECT w.num, w.rank, ${key} AS key ${first("p_lim - a.n")} LIMIT ${given}) x) w;
    IF v_given IS NULL AND v_ranks IS NOT NULL THEN
      INSERT INTO {ready} (queue, rank, pos, num, special, grp)
      SELECT p_queue, rank, nextval('{seq}'), num, key, p_grp FROM unnest(v_nums, v_ranks, v_keys) AS v(num, rank, key);
      RETURN true;
    ELSIF v_given <> coalesce(v_ranks, '{}') THEN
      -- one that is being claimed right now stays: who claims it finds out whether it is anybody's
      DELETE FROM {ready} WHERE ctid = ANY (ARRAY(
        SELECT r.ctid FROM (
          SELECT rank, pos, row_number() OVER (PARTITION BY rank ORDER BY pos) AS nth FROM {ready} WHERE ${ofGroup}) x
        JOIN {ready} r ON r.queue = p_queue AND r.rank = x.rank AND r.pos = x.pos
        WHERE x.nth > (SELECT count(*) FROM unnest(v_ranks) AS v(rank) WHERE v.rank = x.rank)
        FOR UPDATE OF r SKIP LOCKED));
      INSERT INTO {ready} (queue, rank, pos, num, special, grp)
      SELECT p_queue, rank, nextval('{seq}'), num, key, p_grp FROM (
        SELECT num, rank, key FROM (
          SELECT num, rank, key, n, row_number() OVER (PARTITION BY rank ORDER BY n) AS nth
          FROM unnest(v_nums, v_ranks, v_keys) WITH ORDINALITY AS v(num, rank, key, n)) x
        WHERE nth > (SELECT count(*) FROM {ready} r WHERE r.queue = p_queue AND r.grp = p_grp AND r.rank = x.rank)
        ORDER BY n) y;
    ELSIF v_given IS NULL AND v_running = 0 THEN
      -- asked after who runs, so that a member that goes back meanwhile is in one place or the other
      DELETE FROM {lane} WHERE ${ofGroup} AND NOT EXISTS (SELECT FROM {waiting} WHERE ${ofGroup});
    END IF;
    RETURN false;
  END $f$`,

  // looks at the groups that were nudged; returns those that were left to others, those whose turns were all given now and so
  // are known to nobody else, and the nudge after which none were seen
  `CREATE FUNCTION {look}(p_queue int4) RETURNS TABLE (o_left text[], o_fresh text[], o_last int8) LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  DECLARE r record; v_lim int4; v_said int4; v_known bool; v_seen int4 := 0;
  BEGIN
    o_left := '{}';
    o_fresh := '{}';
    FOR r IN
      SELECT grp, array_agg(ctid) AS ctids, max(n) AS last, count(*)::int4 AS seen, max(lim) AS said
      FROM (SELECT ctid, grp, n, lim FROM {nudge} WHERE queue = p_queue ORDER BY n LIMIT ${most}) x
      GROUP BY grp ORDER BY grp
    LOOP
      v_seen := v_seen + r.seen;
      o_last := greatest(o_last, r.last);
      SELECT lim INTO v_lim FROM {lane} WHERE queue = p_queue AND grp = r.grp FOR UPDATE SKIP LOCKED;
      v_known := FOUND AND v_lim > 0;
      IF NOT FOUND THEN
        INSERT INTO {lane} (queue, grp, lim) SELECT p_queue, r.grp, coalesce(r.said, 1)
        WHERE NOT EXISTS (SELECT FROM {lane} WHERE queue = p_queue AND grp = r.grp)
        ON CONFLICT (queue, grp) DO NOTHING RETURNING lim INTO v_lim;
        IF NOT FOUND THEN
          o_left := o_left || r.grp;
          CONTINUE;
        END IF;
      END IF;
      -- before the turns are looked at: what comes after that leaves a nudge of its own
      IF r.said IS NULL THEN
        DELETE FROM {nudge} WHERE ctid = ANY (r.ctids);
        v_said := NULL;
      ELSE
        -- what another look has had meanwhile counts no more
        WITH gone AS (DELETE FROM {nudge} WHERE ctid = ANY (r.ctids) RETURNING n, lim)
        SELECT lim INTO v_said FROM gone WHERE lim IS NOT NULL ORDER BY n DESC LIMIT 1;
      END IF;
      IF v_said IS NULL AND NOT v_known THEN
        -- who came saw others in the group, who are gone
        SELECT coalesce(j.grp_limit, 1) INTO v_said FROM {waiting} w JOIN {job} j ON j.num = w.num
        WHERE w.queue = p_queue AND w.grp = r.grp ORDER BY w.rank, w.pos LIMIT 1;
      END IF;
      IF v_said <> v_lim THEN
        UPDATE {lane} SET lim = v_said WHERE queue = p_queue AND grp = r.grp;
        v_lim := v_said;
      END IF;
      -- with a higher limit there are more to be given when these are taken
      IF {give_turns}(p_queue, r.grp, v_lim) AND v_lim <= ${given} THEN o_fresh := o_fresh || r.grp; END IF;
    END LOOP;
    IF v_seen < ${most} THEN
      o_last := NULL;
    ELSE
      o_fresh := '{}';
    END IF;
    RETURN NEXT;
  END $f$`,

  // turns of one group are claimed: starts as many members, in order, and returns the rows of ready that are theirs now, and
  // whether another look may find more. None when somebody else is looking at the lane, or when one of the nudges after
  // p_last, which nobody has looked at, lowers the limit
  `CREATE FUNCTION {start}(p_queue int4, p_grp text, p_ctids tid[], p_nums int8[], p_ranks int2[], p_last int8,
    p_fresh bool)
  RETURNS TABLE (o_ctids tid[], o_more bool) LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  DECLARE v_free int4; v_lim int4; v_rows tid[]; v_nums int8[]; v_ranks int2[]; v_count int4; v_ctid tid;
  BEGIN
    IF p_fresh THEN
      -- this transaction has the lane, and these are the first turns that it gave: they are who was to have them
      FOR n IN 1..cardinality(p_nums) LOOP
        DELETE FROM {waiting} WHERE ${ofGroup} AND rank = p_ranks[n]
          AND pos = (SELECT coalesce(pos, num) FROM {job} WHERE num = p_nums[n]);
      END LOOP;
      RETURN QUERY SELECT p_ctids, false;
      RETURN;
    END IF;
    SELECT lim INTO v_lim FROM {lane} WHERE ${ofGroup} FOR UPDATE SKIP LOCKED;
    IF NOT FOUND OR (p_last IS NOT NULL AND v_lim > 1
      AND EXISTS (SELECT FROM {nudge} WHERE ${ofGroup} AND n > p_last AND lim < v_lim))
    THEN
      RETURN QUERY SELECT '{}'::tid[], true;
      RETURN;
    END IF;
    v_free := v_lim - ${running};
    SELECT array_agg(ctid), array_agg(num), array_agg(rank), count(*) INTO v_rows, v_nums, v_ranks, v_count FROM (
      SELECT w.ctid, w.num, w.rank ${first("v_free")} LIMIT cardinality(p_ctids)) x;
    DELETE FROM {waiting} WHERE ctid = ANY (v_rows);
    IF v_nums IS DISTINCT FROM p_nums OR v_ranks <> p_ranks THEN
      FOR n IN 1..v_count LOOP
        -- in this order, at positions below zero: floors are those of claims that came to a place in a rank
        UPDATE {ready} SET num = v_nums[n], rank = v_ranks[n], pos = pos - (1::int8 << 62),
          special = (SELECT ${key} FROM {job} j WHERE j.num = v_nums[n])
        WHERE ctid = p_ctids[n] RETURNING ctid INTO v_ctid;
        p_ctids[n] := v_ctid;
      END LOOP;
      -- those that are nobody's
      DELETE FROM {ready} WHERE ctid = ANY (p_ctids[v_count + 1:]);
    END IF;
    o_ctids := p_ctids[:v_count];
    -- with so high a limit not all turns were given
    o_more := v_lim > ${given};
    IF o_more THEN INSERT INTO {nudge} (queue, grp) VALUES (p_queue, p_grp); END IF;
    RETURN NEXT;
  END $f$`,

  // a job that is in no place becomes a member; in a group that nobody is in, the limit is the one that it was enqueued with
  `CREATE FUNCTION {join}(p_num int8, p_queue int4, p_grp text, p_rank int2, p_pos int8) RETURNS void LANGUAGE plpgsql AS $f$
  #variable_conflict use_column
  BEGIN
    INSERT INTO {nudge} (queue, grp, lim) SELECT p_queue, p_grp,
      CASE WHEN NOT EXISTS (SELECT FROM {waiting} WHERE ${ofGroup}) AND NOT EXISTS (SELECT FROM {active} WHERE ${ofGroup})
      THEN coalesce(grp_limit, 1) END
    FROM {job} WHERE num = p_num;
    INSERT INTO {waiting} (queue, grp, rank, pos, num) VALUES (p_queue, p_grp, p_rank, p_pos, p_num);
  END $f$`,

  // the place before which the members stand that have their turn
  `CREATE FUNCTION {edge}(p_queue int4, p_grp text) RETURNS TABLE (o_rank int2, o_pos int8) STABLE ${entry}
  #variable_conflict use_column
  DECLARE v_free int4;
  BEGIN
    SELECT greatest(lim - ${running}, 0) INTO v_free FROM {lane} WHERE ${ofGroup};
    SELECT rank, pos INTO o_rank, o_pos FROM {waiting} WHERE ${ofGroup}
    ORDER BY rank, pos OFFSET coalesce(v_free, 0) LIMIT 1;
    RETURN NEXT;
  END $f$`
]
