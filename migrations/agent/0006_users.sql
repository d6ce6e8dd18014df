-- Users: hidden and deleted ones, their routers; what is counted; indexes that the cleanup reads by.
ALTER TABLE users ADD COLUMN hidden boolean NOT NULL DEFAULT false;
ALTER TABLE users ADD COLUMN deleted boolean NOT NULL DEFAULT false;

CREATE TABLE user_routers (
  user_id bigint NOT NULL,
  position bigint NOT NULL,
  router text NOT NULL,
  password text,
  storage boolean NOT NULL,
  proxy boolean NOT NULL,
  enabled boolean NOT NULL,
  PRIMARY KEY (user_id, position)
);

CREATE TABLE statistics (
  user_id bigint NOT NULL,
  router text NOT NULL,
  name text NOT NULL,
  value bigint NOT NULL,
  PRIMARY KEY (user_id, router, name)
);

CREATE INDEX connections_user_id_connection_id ON connections (user_id, connection_id);
CREATE INDEX snd_messages_created_at ON snd_messages (created_at);
CREATE INDEX rcv_messages_created_at ON rcv_messages (created_at);
