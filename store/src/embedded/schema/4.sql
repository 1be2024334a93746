-- what the OAuth 2 provider must not forget; a moment is in milliseconds since 1970
CREATE TABLE users (
    id       BLOB NOT NULL PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,
    password TEXT,                                  -- its hash; a PHC string
    body     TEXT NOT NULL                          -- all but the password, JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE clients (
    id   TEXT NOT NULL PRIMARY KEY,
    body TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE api_tokens (
    id     BLOB NOT NULL PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    user   BLOB NOT NULL,
    body   TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX api_tokens_of_user ON api_tokens (user);

CREATE TABLE audit (
    number INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    body   TEXT NOT NULL
) STRICT;

CREATE TABLE grants (
    id         BLOB NOT NULL PRIMARY KEY,
    user       BLOB NOT NULL,
    client     TEXT NOT NULL,
    browser    BLOB,
    family     BLOB UNIQUE,                         -- hash of what its refresh tokens have in common
    expires_at INTEGER NOT NULL,
    revoked    INTEGER NOT NULL,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX grants_of_user ON grants (user);
CREATE INDEX grants_of_client ON grants (client);
CREATE INDEX grants_of_browser ON grants (browser) WHERE browser IS NOT NULL;
CREATE INDEX grants_by_end ON grants (expires_at);

CREATE TABLE codes (
    digest   BLOB NOT NULL PRIMARY KEY,
    grant_id BLOB NOT NULL,
    body     TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX codes_of_grant ON codes (grant_id);

-- a code is kept as long as its grant: it may be shown again
CREATE TRIGGER grants_forgotten AFTER DELETE ON grants BEGIN
    DELETE FROM codes WHERE grant_id = old.id;
END;

-- access tokens, or grants, that do not count although they have not expired
CREATE TABLE revoked_tokens (
    id    BLOB NOT NULL PRIMARY KEY,
    until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX revoked_tokens_by_end ON revoked_tokens (until);

CREATE TABLE consents (
    user   BLOB NOT NULL,
    client TEXT NOT NULL,
    scope  TEXT NOT NULL,
    PRIMARY KEY (user, client)
) STRICT, WITHOUT ROWID;

CREATE INDEX consents_of_client ON consents (client);

-- browsers in which somebody is signed in
CREATE TABLE browsers (
    id         BLOB NOT NULL PRIMARY KEY,
    cookie     BLOB NOT NULL UNIQUE,
    user       BLOB NOT NULL,
    expires_at INTEGER NOT NULL,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX browsers_of_user ON browsers (user);
CREATE INDEX browsers_by_end ON browsers (expires_at);

CREATE TABLE devices (
    user_code  TEXT NOT NULL PRIMARY KEY,
    digest     BLOB NOT NULL UNIQUE,
    client     TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    body       TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX devices_of_client ON devices (client);
CREATE INDEX devices_by_end ON devices (expires_at);
