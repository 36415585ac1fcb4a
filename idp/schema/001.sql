-- Times are milliseconds since 1970, 0 for "not yet". Hashes are SHA-256 of the secret.
CREATE TABLE users (
	id       TEXT PRIMARY KEY,
	name     TEXT NOT NULL,
	name_key TEXT NOT NULL UNIQUE, -- lower case
	password TEXT NOT NULL,        -- argon2id, encoded; '' opens nothing
	created  INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
	hash      BLOB PRIMARY KEY,
	user_id   TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
	auth_time INTEGER NOT NULL,
	expires   INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_user ON sessions (user_id);
CREATE INDEX sessions_expires ON sessions (expires);

CREATE TABLE links (
	hash    BLOB PRIMARY KEY,
	user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
	expires INTEGER NOT NULL
) STRICT;
CREATE INDEX links_user ON links (user_id);
CREATE INDEX links_expires ON links (expires);

CREATE TABLE clients (
	id      TEXT PRIMARY KEY,
	created INTEGER NOT NULL,
	used    INTEGER NOT NULL,
	secret  BLOB NOT NULL,
	manage  BLOB NOT NULL,
	name    TEXT NOT NULL,
	data    TEXT NOT NULL -- the rest of the registration, JSON
) STRICT;
CREATE INDEX clients_unused ON clients (created) WHERE used = 0;

CREATE TABLE consents (
	user_id   TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
	client_id TEXT NOT NULL REFERENCES clients ON DELETE CASCADE,
	server    TEXT NOT NULL,
	scopes    TEXT NOT NULL,
	digest    BLOB NOT NULL,
	created   INTEGER NOT NULL,
	PRIMARY KEY (user_id, client_id, server)
) STRICT;
CREATE INDEX consents_client ON consents (client_id);

CREATE TABLE codes (
	hash         BLOB PRIMARY KEY,
	user_id      TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
	client_id    TEXT NOT NULL REFERENCES clients ON DELETE CASCADE,
	family       TEXT NOT NULL, -- of the tokens it gives
	server       TEXT NOT NULL,
	resource     TEXT NOT NULL,
	scopes       TEXT NOT NULL,
	redirect_uri TEXT NOT NULL,
	challenge    TEXT NOT NULL,
	nonce        TEXT NOT NULL,
	auth_time    INTEGER NOT NULL,
	created      INTEGER NOT NULL,
	expires      INTEGER NOT NULL,
	used         INTEGER NOT NULL
) STRICT;
CREATE INDEX codes_user ON codes (user_id);
CREATE INDEX codes_client ON codes (client_id);
CREATE INDEX codes_expires ON codes (expires);

CREATE TABLE families (
	id        TEXT PRIMARY KEY,
	user_id   TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
	client_id TEXT REFERENCES clients ON DELETE CASCADE, -- NULL for a personal token
	server    TEXT NOT NULL,
	resource  TEXT NOT NULL,
	scopes    TEXT NOT NULL,
	label     TEXT NOT NULL,
	auth_time INTEGER NOT NULL,
	created   INTEGER NOT NULL,
	expires   INTEGER NOT NULL
) STRICT;
CREATE INDEX families_user ON families (user_id);
CREATE INDEX families_client ON families (client_id);
CREATE INDEX families_expires ON families (expires);

CREATE TABLE access_tokens (
	hash    BLOB PRIMARY KEY,
	family  TEXT NOT NULL REFERENCES families ON DELETE CASCADE,
	scopes  TEXT NOT NULL,
	created INTEGER NOT NULL,
	expires INTEGER NOT NULL
) STRICT;
CREATE INDEX access_tokens_family ON access_tokens (family);
CREATE INDEX access_tokens_expires ON access_tokens (expires);

CREATE TABLE refresh_tokens (
	hash    BLOB PRIMARY KEY,
	family  TEXT NOT NULL REFERENCES families ON DELETE CASCADE,
	expires INTEGER NOT NULL,
	used    INTEGER NOT NULL,
	salt    BLOB -- of a used one, within the grace
) STRICT;
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_expires ON refresh_tokens (expires);
CREATE INDEX refresh_tokens_salted ON refresh_tokens (used) WHERE salt IS NOT NULL;

CREATE TABLE keys (
	id      TEXT PRIMARY KEY,
	kind    TEXT NOT NULL,
	secret  BLOB NOT NULL,
	created INTEGER NOT NULL
) STRICT;
