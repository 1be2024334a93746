-- What was said in each session. A message is stored together with its event, and stays when old events are removed.
CREATE TABLE messages (
    session TEXT NOT NULL,
    seq     INTEGER NOT NULL,                       -- the number of its event
    at      TEXT NOT NULL,                          -- RFC 3339
    job     BLOB NOT NULL,
    attempt INTEGER NOT NULL,
    agent   TEXT,
    data    TEXT NOT NULL,                          -- a JSON object
    PRIMARY KEY (session, seq)
) STRICT, WITHOUT ROWID;

INSERT INTO messages
SELECT session, seq, at, job, attempt, agent, data FROM events WHERE kind = 'message_complete';

CREATE TRIGGER message_of_event AFTER INSERT ON events WHEN NEW.kind = 'message_complete'
BEGIN
    INSERT INTO messages VALUES (NEW.session, NEW.seq, NEW.at, NEW.job, NEW.attempt, NEW.agent, NEW.data)
    ON CONFLICT DO NOTHING;
END;
