/**
 * Settling one batch and claiming the next, in one call: the only round trip of the hot path. What is settled is seen by
 * the claim, because every statement of a function sees those before it.
 *
 * @since 0.1.0
 */
import { least } from "./claims.ts"
import { entry } from "./planner.ts"

/** moved at a time, so that no claim takes long after a long silence */
const promoted = 1_000
const reclaimed = 500

/** a queue that uses more priorities than this is claimed by walking its whole index, without floors */
const mostRanks = 24

/** what was chosen leaves the queue, is put where running jobs stand, and is handed out */
const handedOut = (placed: string) =>
  `WITH d AS (DELETE FROM {ready} WHERE ctid = ANY (v_ctids) RETURNING rank, pos, num),
  j AS (
    SELECT d.rank, d.pos, j.num, j.id, j.task, j.version, j.origin, j.headers, j.payload, j.enqueued, j.spent,
      j.abort, j.grp,
      CASE WHEN j.events = 0 AND j.keep IS NULL AND j.grp IS NULL AND j.ukey IS NULL AND j.scheduled_for IS NULL
        AND NOT j.abort
      THEN NULL ELSE json_build_object(
        'plain', j.events = 0 AND j.keep IS NULL AND j.grp IS NULL AND j.ukey IS NULL,
        'keep', j.keep IS NOT NULL, 'grp', j.grp, 'unsettled', j.unsettled, 'lostWorker', j.lost_worker,
        'lostClaimed', j.lost_claimed, 'firstFailed', j.first_failed, 'scheduledFor', j.scheduled_for,
        'abort', j.abort)::text END AS rare
    FROM d JOIN {job} j ON j.num = d.num),
  ${placed}
  SELECT num::float8, v_fence::float8, rank, pos::float8, id, task, version, origin, headers, payload,
    enqueued::float8, spent, rare
  FROM j ORDER BY rank, pos`

const ownRow = `a AS (
  INSERT INTO {active} (num, fence, claimed, session, queue, abort, worker, grp)
  SELECT num, v_fence, v_now, p_session, p_queue, abort, p_worker, grp FROM j`

const claimRow = `c AS (
  INSERT INTO {claim} (fence, claimed, session, low, high, queue, worker, nums)
  SELECT v_fence, v_now, p_session, min(num), max(num), p_queue, p_worker, array_agg(num ORDER BY num) FROM j
  WHERE rare IS NULL HAVING count(*) > 0)`

export const exchange: ReadonlyArray<string> = [
  // p_nums, p_fences: successes that leave nothing behind. p_items: all others. p_claims: those of their claims that may be
  // one row, ascending, and p_ends: where in p_nums the jobs of each end. p_max = 0: no claim. p_together: what is claimed may
  // be one row.
  // p_ranks, p_floors: below its floor a rank holds nothing that is worth walking over dead rows for; none: look everywhere.
  // p_sweep: move first what became due (1), and what was lost (2). The last row is no job: o_rare says what is to be told about the call.
  `CREATE FUNCTION {exchange}(p_nums int8[], p_fences int8[], p_claims int8[], p_ends int4[], p_items jsonb, p_failures int8, p_successes int8,
    p_queue int4, p_session int8, p_worker text, p_max int4, p_together bool, p_ranks int2[], p_floors int8[], p_sweep int4,
    p_lease int8, p_hint text)
  RETURNS TABLE (o_num float8, o_fence float8, o_rank int2, o_pos float8, o_id text, o_task text, o_version int4,
    o_origin text, o_headers text, o_payload text, o_enqueued float8, o_spent int4, o_rare text) ${entry}
  #variable_conflict use_column
  DECLARE
    v_now int8 := {now}();
    v_done int8[] := '{}'; v_nums int8[];
    v_lost int8[];
    v_answers json;
    v_paused bool; v_special bool; v_ranks int2[]; v_rank int2;
    v_want int4 := p_max;
    v_ctids tid[] := '{}'; v_some tid[];
    v_fence int8; v_together bool;
    v_due int8;
    v_more bool := false;
    v_left text[] := '{}'; v_fresh text[] := '{}'; v_last int8;
    v_keyed bool := false; v_keys text[];
    r record;
  BEGIN
    IF p_claims <> '{}' THEN v_done := {settle_claims}(p_claims, p_ends, p_nums); END IF;
    IF cardinality(v_done) < cardinality(p_nums) THEN
      WITH a AS (
        DELETE FROM {active} a USING unnest(p_nums, p_fences) AS x(num, fence)
        WHERE a.num = x.num AND a.fence = x.fence RETURNING a.num),
      j AS (DELETE FROM {job} j USING a WHERE j.num = a.num)
      SELECT array_agg(num) INTO v_nums FROM a;
      v_done := v_done || v_nums;
      IF cardinality(v_done) < cardinality(p_nums) THEN
        v_lost := ARRAY(SELECT unnest(p_nums) EXCEPT SELECT unnest(v_done));
      END IF;
    END IF;
    IF p_items IS NOT NULL THEN
      SELECT json_object_agg(o_n, o_answer) INTO v_answers
      FROM {settle_each}(p_items, v_now, p_failures, p_successes);
    END IF;
    IF p_hint IS NOT NULL THEN PERFORM pg_notify('{$channel}', p_hint); END IF;

    IF p_max > 0 THEN
      SELECT paused, special, ranks INTO v_paused, v_special, v_ranks FROM {queue} WHERE num = p_queue;
      IF v_paused IS NOT DISTINCT FROM false THEN
        IF p_sweep > 0 AND EXISTS (SELECT FROM {scheduled} WHERE queue = p_queue AND due <= v_now) THEN
          PERFORM {promote}(p_queue, v_now, ${promoted});
        END IF;
        IF p_sweep > 1 THEN PERFORM {reclaim}(p_queue, v_now, p_lease, ${reclaimed}); END IF;
        IF v_special AND EXISTS (SELECT FROM {nudge} WHERE queue = p_queue) THEN
          SELECT o_left, o_fresh, o_last, o_left <> '{}' OR o_last IS NOT NULL INTO v_left, v_fresh, v_last, v_more
          FROM {look}(p_queue);
          -- turns may have been given at one that is new
          SELECT ranks INTO v_ranks FROM {queue} WHERE num = p_queue;
        END IF;

        IF cardinality(v_ranks) > ${mostRanks} THEN
          v_ctids := ARRAY(SELECT ctid FROM {ready} WHERE queue = p_queue
            ORDER BY rank, pos LIMIT v_want FOR UPDATE SKIP LOCKED);
        ELSE
          FOREACH v_rank IN ARRAY v_ranks LOOP
            -- the front of the queue is before zero
            v_some := ARRAY(SELECT ctid FROM {ready} WHERE queue = p_queue AND rank = v_rank AND pos < 0
              ORDER BY pos LIMIT v_want FOR UPDATE SKIP LOCKED);
            v_ctids := v_ctids || v_some;
            v_want := v_want - cardinality(v_some);
            EXIT WHEN v_want = 0;
            v_some := ARRAY(SELECT ctid FROM {ready} WHERE queue = p_queue AND rank = v_rank
                AND pos >= coalesce(p_floors[array_position(p_ranks, v_rank)], 0)
              ORDER BY pos LIMIT v_want FOR UPDATE SKIP LOCKED);
            v_ctids := v_ctids || v_some;
            v_want := v_want - cardinality(v_some);
            EXIT WHEN v_want = 0;
          END LOOP;
        END IF;

        IF v_special AND v_ctids <> '{}' THEN
          FOR r IN
            SELECT grp, array_agg(ctid) AS ctids, array_agg(num) AS nums, array_agg(rank) AS ranks, bool_or(special) AS keys
            FROM (SELECT ctid, grp, num, rank, special FROM {ready}
              WHERE ctid = ANY (v_ctids) AND (grp IS NOT NULL OR special)
              -- by group first: to sort them by it once more would not keep the rest of the order
              ORDER BY grp, rank, pos) x
            GROUP BY grp
          LOOP
            v_keyed := v_keyed OR r.keys;
            CONTINUE WHEN r.grp IS NULL;
            v_some := '{}';
            IF r.grp <> ALL (v_left) THEN
              SELECT o_ctids, o_more OR v_more INTO v_some, v_more
              FROM {start}(p_queue, r.grp, r.ctids, r.nums, r.ranks, v_last, r.grp = ANY (v_fresh));
              -- others than those who were to have the turns, perhaps
              v_keyed := v_keyed OR v_some <> r.ctids;
            END IF;
            IF v_some <> r.ctids THEN
              v_ctids := ARRAY(SELECT unnest(v_ctids) EXCEPT SELECT unnest(r.ctids)) || v_some;
            END IF;
          END LOOP;
          IF v_keyed THEN
            SELECT array_agg(j.ukey), array_agg(j.num) INTO v_keys, v_nums FROM {ready} x JOIN {job} j ON j.num = x.num
            WHERE x.ctid = ANY (v_ctids) AND x.special;
            DELETE FROM {ukey} WHERE queue = p_queue AND key = ANY (v_keys) AND num = ANY (v_nums) AND expires IS NULL;
          END IF;
        END IF;

        IF v_ctids <> '{}' THEN
          v_together := p_together AND cardinality(v_ctids) >= ${least};
          v_fence := nextval('{seq}');
          IF v_together THEN
            RETURN QUERY ${handedOut(`${ownRow} WHERE rare IS NOT NULL), ${claimRow}`)};
          ELSE
            RETURN QUERY ${handedOut(`${ownRow})`)};
          END IF;
        END IF;
        -- nothing more for now: when will there be?
        IF v_want > 0 THEN
          SELECT due INTO v_due FROM {scheduled} WHERE queue = p_queue ORDER BY due LIMIT 1;
        END IF;
      END IF;
    END IF;
    IF v_lost IS NOT NULL OR v_answers IS NOT NULL OR v_due IS NOT NULL OR v_more THEN
      o_num := -1;
      o_rare := json_build_object('lost', v_lost, 'answers', v_answers, 'due', v_due - v_now, 'more', v_more,
        'unseen', v_last IS NOT NULL)::text;
      RETURN NEXT;
    END IF;
  END $f$`
]
