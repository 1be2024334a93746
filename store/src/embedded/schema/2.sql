-- requests that are to be done once, each written down before it is done
CREATE TABLE intents (
    number      INTEGER NOT NULL PRIMARY KEY,
    key         BLOB NOT NULL UNIQUE,
    fingerprint BLOB NOT NULL,
    at          INTEGER NOT NULL,                   -- milliseconds since 1970
    seed        BLOB NOT NULL,
    answer      BLOB                                -- none: not known to be done
) STRICT;

CREATE INDEX intents_by_age ON intents (at);

-- how much is remembered, so that nobody has to count
CREATE TABLE intents_total (
    one   INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    count INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

INSERT INTO intents_total (one, count, bytes) VALUES (1, 0, 0);

CREATE TRIGGER intents_added AFTER INSERT ON intents BEGIN
    UPDATE intents_total SET count = count + 1, bytes = bytes + coalesce(length(new.answer), 0);
END;

CREATE TRIGGER intents_answered AFTER UPDATE ON intents BEGIN
    UPDATE intents_total
    SET bytes = bytes - coalesce(length(old.answer), 0) + coalesce(length(new.answer), 0);
END;

CREATE TRIGGER intents_forgotten AFTER DELETE ON intents BEGIN
    UPDATE intents_total SET count = count - 1, bytes = bytes - coalesce(length(old.answer), 0);
END;
