-- What people prove who they are with beside a password.
CREATE TABLE factors (
	id      TEXT PRIMARY KEY,
	user_id TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
	kind    TEXT NOT NULL, -- 'passkey' or 'totp'
	label   TEXT NOT NULL,
	handle  TEXT UNIQUE,   -- of a passkey: the credential's id
	data    BLOB NOT NULL, -- of a passkey: its public key and counter; of a totp: the secret, which both sides must know
	step    INTEGER NOT NULL, -- of a totp: the last time step that was used
	created INTEGER NOT NULL,
	used    INTEGER NOT NULL
) STRICT;
CREATE INDEX factors_user ON factors (user_id);

-- What its owner sees of a session.
ALTER TABLE sessions ADD COLUMN method TEXT NOT NULL DEFAULT '';
ALTER TABLE sessions ADD COLUMN agent TEXT NOT NULL DEFAULT '';
