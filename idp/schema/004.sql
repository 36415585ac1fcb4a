-- Whom another service vouches for: which one ('' is mcpd itself), who they are there, and what it said of them last.
ALTER TABLE users ADD COLUMN provider TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN subject TEXT NOT NULL DEFAULT '';
ALTER TABLE users ADD COLUMN groups TEXT NOT NULL DEFAULT ''; -- one a line
ALTER TABLE users ADD COLUMN seen INTEGER NOT NULL DEFAULT 0;
CREATE UNIQUE INDEX users_subject ON users (provider, subject) WHERE provider <> '';
