-- Bodies of messages that go to many: stored once, named by the messages that have not been delivered yet.
CREATE TABLE snd_bodies (
  body_id text NOT NULL,
  body bytea NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (body_id)
);

ALTER TABLE snd_messages ADD COLUMN body_id text;
ALTER TABLE snd_messages ADD COLUMN receipt text;
CREATE INDEX snd_messages_body_id ON snd_messages (body_id) WHERE body_id IS NOT NULL;
CREATE INDEX snd_messages_connection_id_send_id ON snd_messages (connection_id, send_id);

ALTER TABLE deliveries ADD COLUMN warned text;
