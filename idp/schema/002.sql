ALTER TABLE clients ADD COLUMN kind TEXT NOT NULL DEFAULT 'registered';

-- What is good once, until it is not good any more: assertions of clients.
CREATE TABLE spent (
	hash    BLOB PRIMARY KEY,
	expires INTEGER NOT NULL
) STRICT;
CREATE INDEX spent_expires ON spent (expires);
