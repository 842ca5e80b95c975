/**
 * Named times of a queue that move in one step with a publish.
 *
 * @since 0.1.0
 */
import { entry } from "./planner.ts"
import { parameters } from "./publish.ts"

export const cursor: ReadonlyArray<string> = [
  `CREATE TABLE {cursor} (
    at int8 NOT NULL, queue int4 NOT NULL, name text COLLATE "C" NOT NULL,
    PRIMARY KEY (queue, name)
  ) WITH (fillfactor = 50)`,

  // o_n -1: it moved, -2: it stands elsewhere (o_existing: where); then what publish returns
  `CREATE FUNCTION {advance}(p_name text, p_from int8, p_to int8, ${parameters})
  RETURNS TABLE (o_n int4, o_existing text) ${entry}
  #variable_conflict use_column
  DECLARE v_moved int4;
  BEGIN
    -- of those who come at once one moves it, the others wait for its row and find it elsewhere
    IF p_from IS NULL THEN
      INSERT INTO {cursor} (queue, name, at) VALUES (p_queue, p_name, p_to) ON CONFLICT (queue, name) DO NOTHING;
    ELSE
      UPDATE {cursor} SET at = p_to WHERE queue = p_queue AND name = p_name AND at = p_from;
    END IF;
    GET DIAGNOSTICS v_moved = ROW_COUNT;
    IF v_moved = 0 THEN
      RETURN QUERY SELECT -2, (SELECT at FROM {cursor} WHERE queue = p_queue AND name = p_name)::text;
      RETURN;
    END IF;
    RETURN QUERY SELECT -1, NULL::text;
    IF cardinality(p_ids) > 0 THEN
      RETURN QUERY SELECT * FROM {publish}(p_queue, p_ids, p_tasks, p_versions, p_origins, p_headers, p_payloads, p_extra,
        p_hint);
    END IF;
  END $f$`
]
