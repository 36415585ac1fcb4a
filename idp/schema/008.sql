-- Who somebody is at the providers that they sign in with: the one that vouches for them (users.provider), and those that they linked.
CREATE TABLE identities (
	provider TEXT NOT NULL,
	subject  TEXT NOT NULL,
	user_id  TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
	name     TEXT NOT NULL, -- the e-mail address there, as it was first
	created  INTEGER NOT NULL,
	PRIMARY KEY (provider, subject)
) STRICT;
CREATE INDEX identities_user ON identities (user_id);
INSERT INTO identities SELECT provider, subject, id, name, created FROM users WHERE provider <> '';
