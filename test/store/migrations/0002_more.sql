-- Two statements with a semicolon in a string, to see that a file runs as it is.
ALTER TABLE accounts ADD COLUMN label text NOT NULL DEFAULT 'a;b';
ALTER TABLE accounts ALTER COLUMN label DROP DEFAULT;

CREATE INDEX items_note ON items (note) WHERE note IS NOT NULL;

CREATE TABLE pairs (
  "left" bigint NOT NULL,
  "right" text NOT NULL,
  PRIMARY KEY ("left", "right")
);
