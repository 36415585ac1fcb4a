-- Globs of the tools that a personal token may be used for, '' for all.
ALTER TABLE families ADD COLUMN tools TEXT NOT NULL DEFAULT '';
