CREATE TABLE devices (
	hash      BLOB PRIMARY KEY,
	user_code TEXT NOT NULL UNIQUE,
	client_id TEXT NOT NULL REFERENCES clients ON DELETE CASCADE,
	user_id   TEXT REFERENCES users ON DELETE CASCADE, -- who agreed
	family    TEXT NOT NULL,                           -- of the tokens it gives
	server    TEXT NOT NULL,
	resource  TEXT NOT NULL,
	scopes    TEXT NOT NULL,
	auth_time INTEGER NOT NULL,
	created   INTEGER NOT NULL,
	expires   INTEGER NOT NULL,
	state     INTEGER NOT NULL
) STRICT;
CREATE INDEX devices_client ON devices (client_id);
CREATE INDEX devices_user ON devices (user_id);
CREATE INDEX devices_expires ON devices (expires);
