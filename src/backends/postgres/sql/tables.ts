/**
 * The tables. What a job is stands once in `job` and is not copied while it moves. Where it stands is a narrow row in
 * `ready`, `scheduled`, `waiting` (members of a group) or `active`; whoever deletes that row owns the job's next step.
 * Running jobs that were claimed together, and of which nothing else is known, may stand in one row of `claim` instead (see
 * `claims.ts`). So the hot path only inserts and deletes, and a heartbeat never rewrites a payload. A `fence` is new with
 * every hand-out and has nothing to do with the position `(rank, pos)`. An ended job that is kept stays in `job`, with a row
 * in `ended`.
 *
 * Ended jobs are forgotten by bounded deletes and not by dropping partitions: how long each is kept is a matter of the
 * job (its result) and of how it ended, a dead one may go back to work, and an id is unique over all of them, which a
 * partitioned table could not hold.
 *
 * All times are milliseconds since the epoch on the server's clock.
 *
 * @since 0.1.0
 */

/** rows come and go at the same rate: vacuum has to keep up with their number, not with their share */
const hot = "autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0"

export const tables: ReadonlyArray<string> = [
  // numbers for jobs, positions and fences: none is ever used twice
  `CREATE SEQUENCE {seq}`,

  `CREATE TABLE {queue} (
    num int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    paused bool NOT NULL DEFAULT false,
    used bool NOT NULL DEFAULT false,
    -- whether a claim has to look for groups and for keys that are given back at the start
    special bool NOT NULL DEFAULT false,
    -- priorities in use, negated, best first: a claim looks at each
    ranks int2[] NOT NULL DEFAULT '{0}'
  )`,

  `CREATE TABLE {job} (
    num int8 NOT NULL PRIMARY KEY,        -- order of the enqueues
    enqueued int8 NOT NULL,
    pos int8,                             -- among those of the same rank; smaller goes first; null: num
    due int8,                             -- set while the job is scheduled
    scheduled_for int8,
    first_failed int8,
    lost_claimed int8,
    keep int8,                            -- milliseconds that the result is kept
    queue int4 NOT NULL,
    version int4 NOT NULL,
    spent int4 NOT NULL DEFAULT 0,
    unsettled int4 NOT NULL DEFAULT 0,
    events int4 NOT NULL DEFAULT 0,       -- number of the last row in history
    rank int2 NOT NULL,                   -- priority, negated
    front bool NOT NULL DEFAULT false,    -- when it is due it goes to the front
    abort bool NOT NULL DEFAULT false,    -- while it is active, active.abort counts
    id text COLLATE "C" NOT NULL,
    task text NOT NULL,
    origin text NOT NULL,
    headers text,                         -- JSON; null when there are none
    grp text COLLATE "C",
    grp_limit int4,                       -- of its group, as its enqueue said; null: one
    ukey text COLLATE "C",
    until text,                           -- of the unique key: started, finished or window
    lost_worker text,
    error text,
    progress text,
    payload text NOT NULL
  ) WITH (fillfactor = 90, ${hot})`,
  `CREATE UNIQUE INDEX ON {job} (id)`,

  `CREATE TABLE {ready} (
    num int8 NOT NULL, pos int8 NOT NULL, queue int4 NOT NULL, rank int2 NOT NULL,
    special bool NOT NULL,                -- with a key that it gives back at its start
    grp text COLLATE "C",                 -- set: a turn of that group, and num is who was to have it when it was given
    PRIMARY KEY (queue, rank, pos)
  ) WITH (${hot})`,
  `CREATE INDEX ON {ready} (queue, grp) WHERE grp IS NOT NULL`,

  `CREATE TABLE {active} (
    num int8 NOT NULL PRIMARY KEY,
    fence int8 NOT NULL,
    claimed int8 NOT NULL,
    session int8 NOT NULL,
    lease int8,                           -- null: the session's, counted from the claim at least
    queue int4 NOT NULL,
    abort bool NOT NULL,
    worker text NOT NULL,
    grp text COLLATE "C"
  ) WITH (fillfactor = 90, ${hot})`,
  `CREATE INDEX ON {active} (session) WHERE abort`,
  `CREATE INDEX ON {active} (queue, grp) WHERE grp IS NOT NULL`,

  // as many rows as claims are under way; a row of some hundred jobs has a place in its page
  `CREATE TABLE {claim} (
    fence int8 NOT NULL PRIMARY KEY,
    claimed int8 NOT NULL,
    session int8 NOT NULL,
    low int8 NOT NULL,                    -- the least of its jobs
    high int8 NOT NULL,
    queue int4 NOT NULL,
    worker text NOT NULL,
    nums int8[] NOT NULL                  -- ascending
  ) WITH (toast_tuple_target = 8160, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 500,
    autovacuum_vacuum_cost_delay = 0)`,

  `CREATE TABLE {scheduled} (
    due int8 NOT NULL, num int8 NOT NULL, queue int4 NOT NULL,
    PRIMARY KEY (queue, due, num)
  ) WITH (${hot})`,

  // every member of a group that waits, scheduled ones too: one that is not due holds its place
  `CREATE TABLE {waiting} (
    num int8 NOT NULL, pos int8 NOT NULL, queue int4 NOT NULL, rank int2 NOT NULL, grp text COLLATE "C" NOT NULL,
    PRIMARY KEY (queue, grp, rank, pos)
  ) WITH (${hot})`,

  // a group that has members: how many of them may run at once; 0 until somebody has looked. Who starts one holds the row
  `CREATE TABLE {lane} (
    lim int4 NOT NULL, queue int4 NOT NULL, grp text COLLATE "C" NOT NULL,
    PRIMARY KEY (queue, grp)
  ) WITH (fillfactor = 70, ${hot})`,

  // groups whose turns may have changed; inserts never wait for each other
  `CREATE TABLE {nudge} (
    n int8 NOT NULL DEFAULT nextval('{seq}'), queue int4 NOT NULL,
    lim int4,                             -- the group's limit from now on; null: as it is
    grp text COLLATE "C" NOT NULL,
    PRIMARY KEY (queue, n)
  ) WITH (${hot})`,

  `CREATE TABLE {ukey} (
    num int8 NOT NULL,
    expires int8,                         -- null: until the job lets go of it
    queue int4 NOT NULL,
    key text COLLATE "C" NOT NULL,
    id text NOT NULL,
    PRIMARY KEY (queue, key)
  ) WITH (${hot})`,
  `CREATE INDEX ON {ukey} (expires) WHERE expires IS NOT NULL`,

  `CREATE TABLE {ended} (
    num int8 NOT NULL PRIMARY KEY,
    finished int8 NOT NULL,
    claimed int8,
    expires int8 NOT NULL,                -- when the job is forgotten
    result_until int8 NOT NULL,           -- how long its result is there for those who ask
    queue int4 NOT NULL,
    state text NOT NULL,
    worker text,
    reason text,
    exit text
  )`,
  `CREATE INDEX ON {ended} (queue, num) WHERE state = 'dead'`,
  `CREATE INDEX ON {ended} (expires)`,

  `CREATE TABLE {history} (
    num int8 NOT NULL, at int8 NOT NULL, n int4 NOT NULL, attempt int4 NOT NULL,
    event text NOT NULL, worker text, detail text,
    PRIMARY KEY (num, n)
  )`,

  // one row per subscription: its heartbeat renews this row, not one per job
  `CREATE TABLE {session} (
    id int8 NOT NULL DEFAULT nextval('{seq}') PRIMARY KEY,
    expires int8 NOT NULL,
    millis int8 NOT NULL,
    seen int8 NOT NULL,
    worker text NOT NULL
  ) WITH (fillfactor = 50, ${hot})`,

  `CREATE TABLE {leader} (
    name text COLLATE "C" NOT NULL PRIMARY KEY, holder int8, epoch int8 NOT NULL, expires int8 NOT NULL
  )`,

  `CREATE FUNCTION {now}() RETURNS int8 LANGUAGE sql VOLATILE AS
    $$ SELECT floor(extract(epoch FROM clock_timestamp()) * 1000)::int8 $$`
]
