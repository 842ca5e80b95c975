/**
 * The file's schema, as a list of migrations, and the marks by which a file is recognised as a queue of this backend.
 *
 * What a job is stands once in `job` and is not copied while it moves. Where it stands is a narrow row in `ready`,
 * `scheduled`, `waiting` (members of a group) or `active`, so the hot path only inserts and deletes small rows, and a
 * heartbeat never rewrites a payload. `active.fence` is new with every hand-out and has nothing to do with the position
 * `(rank, pos)`. An ended job that is kept stays in `job`, with a row in `ended`.
 *
 * @since 0.1.0
 */

/** "Wndl": `PRAGMA application_id` of every file that this backend made */
export const applicationId = 0x576e646c

/** files up to this version (`PRAGMA user_version`) were made by no release: they are refused */
export const unreleased = 3

/** `migrations[n]` brings a file to version `unreleased + n + 1`. Released ones are never edited */
export const migrations: ReadonlyArray<string> = [
  `
  -- numbers for jobs, positions and fences: none is ever used twice
  CREATE TABLE sequence (one INTEGER PRIMARY KEY CHECK (one = 1), value INTEGER NOT NULL) STRICT;
  INSERT INTO sequence VALUES (1, 0);

  CREATE TABLE queue (
    num INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    paused INTEGER NOT NULL DEFAULT 0,
    used INTEGER NOT NULL DEFAULT 0
  ) STRICT;

  -- the payload stands last, so that reading the other columns never walks its overflow pages
  CREATE TABLE job (
    num INTEGER PRIMARY KEY,              -- order of the enqueues
    id TEXT NOT NULL,
    queue INTEGER NOT NULL,
    task TEXT NOT NULL,
    version INTEGER NOT NULL,
    headers TEXT,                         -- JSON; NULL when there are none
    origin TEXT NOT NULL,
    rank INTEGER NOT NULL,                -- priority, negated
    pos INTEGER NOT NULL,                 -- among those of the same rank; smaller goes first
    due INTEGER,                          -- set while the job is scheduled
    front INTEGER NOT NULL DEFAULT 0,     -- when it is due it goes to the front
    grp TEXT,
    lim INTEGER,                          -- of its group, as it was enqueued; NULL: 1
    ukey TEXT,
    until TEXT,                           -- of the unique key: started, finished or window
    keep INTEGER,                         -- milliseconds that the result is kept
    enqueued INTEGER NOT NULL,
    scheduled_for INTEGER,
    spent INTEGER NOT NULL DEFAULT 0,
    unsettled INTEGER NOT NULL DEFAULT 0,
    lost_worker TEXT,
    lost_claimed INTEGER,
    first_failed INTEGER,
    abort INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    progress TEXT,
    events INTEGER NOT NULL DEFAULT 0,    -- number of the last row in history
    payload TEXT NOT NULL
  ) STRICT;
  CREATE UNIQUE INDEX job_id ON job (id);
  CREATE INDEX job_abort ON job (abort) WHERE abort = 1;

  CREATE TABLE ready (
    queue INTEGER NOT NULL, rank INTEGER NOT NULL, pos INTEGER NOT NULL, num INTEGER NOT NULL,
    PRIMARY KEY (queue, rank, pos)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE scheduled (
    queue INTEGER NOT NULL, due INTEGER NOT NULL, num INTEGER NOT NULL,
    PRIMARY KEY (queue, due, num)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE active (
    num INTEGER PRIMARY KEY,
    fence INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    worker TEXT NOT NULL,
    claimed INTEGER NOT NULL,
    lease INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX active_lease ON active (queue, lease);

  -- every member of a group that waits, scheduled ones too: the first of them have their turn, due or not
  CREATE TABLE waiting (
    queue INTEGER NOT NULL, grp TEXT NOT NULL, rank INTEGER NOT NULL, pos INTEGER NOT NULL, num INTEGER NOT NULL,
    PRIMARY KEY (queue, grp, rank, pos)
  ) STRICT, WITHOUT ROWID;

  -- a group that somebody is in: how many members may run and do, how many of those that wait have their turn, and which
  -- is the last of these. Who has its turn stands in ready, unless it is scheduled
  CREATE TABLE lane (
    queue INTEGER NOT NULL, grp TEXT NOT NULL,
    lim INTEGER NOT NULL, running INTEGER NOT NULL, turns INTEGER NOT NULL, turn_rank INTEGER, turn_pos INTEGER,
    PRIMARY KEY (queue, grp)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE ukey (
    queue INTEGER NOT NULL, key TEXT NOT NULL, num INTEGER NOT NULL, id TEXT NOT NULL,
    expires INTEGER,                      -- NULL: until the job lets go of it
    PRIMARY KEY (queue, key)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX ukey_expires ON ukey (expires) WHERE expires IS NOT NULL;

  CREATE TABLE ended (
    num INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    state TEXT NOT NULL,
    finished INTEGER NOT NULL,
    worker TEXT,
    claimed INTEGER,
    reason TEXT,
    exit TEXT,
    expires INTEGER NOT NULL,             -- when the job is forgotten
    result_until INTEGER NOT NULL         -- how long its result is there for those who ask
  ) STRICT;
  CREATE INDEX ended_dead ON ended (queue, num) WHERE state = 'dead';
  CREATE INDEX ended_expires ON ended (expires);

  CREATE TABLE history (
    num INTEGER NOT NULL, n INTEGER NOT NULL,
    at INTEGER NOT NULL, event TEXT NOT NULL, attempt INTEGER NOT NULL, worker TEXT, detail TEXT,
    PRIMARY KEY (num, n)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE leader (
    name TEXT PRIMARY KEY, holder TEXT, epoch INTEGER NOT NULL, expires INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  -- named times that move together with a publish
  CREATE TABLE cursor (
    queue INTEGER NOT NULL, name TEXT NOT NULL, at INTEGER NOT NULL,
    PRIMARY KEY (queue, name)
  ) STRICT, WITHOUT ROWID;

  -- leases (active.lease, leader.expires) are counted on a clock that begins anew whenever the machine starts: which start
  -- the file has seen last
  CREATE TABLE boot (one INTEGER PRIMARY KEY CHECK (one = 1), id TEXT NOT NULL, began INTEGER NOT NULL) STRICT;
  `
]

/** the version of the files that this windlass makes */
export const latest = unreleased + migrations.length
