-- Of a family that a client got for the token of another server: the family of that token, with which it ends.
ALTER TABLE families ADD COLUMN parent TEXT REFERENCES families ON DELETE CASCADE;
CREATE INDEX families_parent ON families (parent) WHERE parent IS NOT NULL;
