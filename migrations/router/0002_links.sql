-- The data of short links gets a table of its own: rows of queues are read with every command, and link data is 16 KB. What stays with the
-- queue is the SHA-256 of the fixed data, which may not change.
CREATE TABLE router_links (
  link_id bytea NOT NULL,
  fixed_data bytea NOT NULL,
  user_data bytea NOT NULL,
  PRIMARY KEY (link_id)
);
INSERT INTO router_links (link_id, fixed_data, user_data)
  SELECT link_id, link_fixed_data, link_user_data FROM router_queues
  WHERE link_id IS NOT NULL AND link_fixed_data IS NOT NULL AND link_user_data IS NOT NULL;
ALTER TABLE router_queues ADD COLUMN link_fixed_hash bytea;
UPDATE router_queues SET link_fixed_hash = sha256(link_fixed_data) WHERE link_id IS NOT NULL;
ALTER TABLE router_queues DROP COLUMN link_fixed_data, DROP COLUMN link_user_data;
