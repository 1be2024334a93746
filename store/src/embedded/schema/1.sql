-- "MGXS": this file is a store of ours
PRAGMA application_id = 1296521299;

CREATE TABLE meta (
    name  TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- which platform the containers on an engine belong to
INSERT INTO meta (name, value) VALUES ('instance', lower(hex(randomblob(6))));

CREATE TABLE sessions (
    number            INTEGER NOT NULL PRIMARY KEY, -- in the order of creation
    id                TEXT NOT NULL UNIQUE,
    name              TEXT NOT NULL,
    framework         TEXT NOT NULL,
    workspace         TEXT NOT NULL,
    user              TEXT NOT NULL,
    created_at        TEXT NOT NULL,                -- RFC 3339
    requests          INTEGER NOT NULL,
    prompt_tokens     INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL
) STRICT;

CREATE INDEX sessions_of_user ON sessions (user, number);

-- ids are UUIDv7: their order is the order of submission
CREATE TABLE jobs (
    id      BLOB NOT NULL PRIMARY KEY,
    session TEXT NOT NULL,
    user    TEXT NOT NULL,
    kind    TEXT NOT NULL,
    state   TEXT NOT NULL,
    ended   INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    body    TEXT NOT NULL                           -- the whole job, JSON
) STRICT;

CREATE INDEX jobs_of_session ON jobs (session, id);
CREATE INDEX jobs_of_user ON jobs (user, id);
CREATE INDEX jobs_in_state ON jobs (state, id);
-- few, however many have ended
CREATE INDEX jobs_unfinished ON jobs (id) WHERE ended = 0;
CREATE INDEX jobs_live ON jobs (session) WHERE ended = 0;

CREATE TABLE events (
    session TEXT NOT NULL,
    seq     INTEGER NOT NULL,                       -- 1, 2, 3, … without gaps
    at      TEXT NOT NULL,                          -- RFC 3339
    job     BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    source  INTEGER,                                -- the agent's own number for it
    kind    TEXT NOT NULL,
    agent   TEXT,
    data    TEXT NOT NULL,                          -- a JSON object
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

-- sending an event twice is harmless
CREATE UNIQUE INDEX events_once ON events (job, attempt, source) WHERE source IS NOT NULL;
