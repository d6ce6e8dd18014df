-- Short links: the keys of own ones, and those with which one-time ones of others were read.
ALTER TABLE connections ADD COLUMN short_link text;

CREATE TABLE short_links (
  connection_id text NOT NULL,
  link_id bytea,
  link_key bytea NOT NULL,
  root_private_key bytea NOT NULL,
  fixed_data bytea NOT NULL,
  corr_id bytea,
  PRIMARY KEY (connection_id)
);

CREATE TABLE invitation_links (
  user_id bigint NOT NULL,
  router text NOT NULL,
  link_id bytea NOT NULL,
  snd_private_key bytea NOT NULL,
  snd_id bytea,
  connection_id text,
  created_at bigint NOT NULL,
  PRIMARY KEY (user_id, router, link_id)
);
CREATE INDEX invitation_links_user_id_router_snd_id ON invitation_links (user_id, router, snd_id);
CREATE INDEX invitation_links_connection_id ON invitation_links (connection_id);
