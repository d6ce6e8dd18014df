-- Keys of ratchet synchronisations that were processed: each is processed once.
CREATE TABLE ratchet_key_hashes (
  connection_id text NOT NULL,
  hash bytea NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (connection_id, hash)
);
CREATE INDEX ratchet_key_hashes_created_at ON ratchet_key_hashes (created_at);
