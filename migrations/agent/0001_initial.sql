CREATE TABLE users (
  user_id bigint NOT NULL,
  name text NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (user_id)
);

CREATE TABLE connections (
  connection_id text NOT NULL,
  user_id bigint NOT NULL,
  status text NOT NULL,
  agent_version bigint NOT NULL,
  pq_support boolean NOT NULL,
  last_message_id bigint NOT NULL,
  last_send_id bigint NOT NULL,
  last_send_hash bytea NOT NULL,
  last_receive_id bigint NOT NULL,
  last_external_id bigint NOT NULL,
  last_receive_hash bytea NOT NULL,
  ratchet_sync text NOT NULL,
  ratchet bytea,
  x3dh_keys bytea,
  link text,
  idempotency_key text,
  created_at bigint NOT NULL,
  PRIMARY KEY (connection_id),
  UNIQUE (user_id, idempotency_key)
);

CREATE TABLE rcv_queues (
  queue_id text NOT NULL,
  connection_id text NOT NULL,
  user_id bigint NOT NULL,
  router text NOT NULL,
  rcv_id bytea,
  snd_id bytea,
  rcv_private_key bytea NOT NULL,
  router_dh_private_key bytea NOT NULL,
  router_dh_secret bytea,
  e2e_private_key bytea NOT NULL,
  e2e_secret bytea,
  sender_key bytea,
  status text NOT NULL,
  client_version bigint NOT NULL,
  queue_mode text,
  "primary" boolean NOT NULL,
  replaces text,
  switch_status text,
  created_at bigint NOT NULL,
  PRIMARY KEY (queue_id),
  UNIQUE (router, rcv_id)
);
CREATE INDEX rcv_queues_connection_id ON rcv_queues (connection_id);

CREATE TABLE snd_queues (
  queue_id text NOT NULL,
  connection_id text NOT NULL,
  user_id bigint NOT NULL,
  router text NOT NULL,
  snd_id bytea NOT NULL,
  snd_private_key bytea NOT NULL,
  e2e_public_key bytea NOT NULL,
  e2e_secret bytea NOT NULL,
  status text NOT NULL,
  client_version bigint NOT NULL,
  queue_mode text,
  "primary" boolean NOT NULL,
  replaces text,
  switch_status text,
  created_at bigint NOT NULL,
  PRIMARY KEY (queue_id)
);
CREATE INDEX snd_queues_connection_id ON snd_queues (connection_id);

CREATE TABLE skipped_keys (
  connection_id text NOT NULL,
  header_key bytea NOT NULL,
  message_number bigint NOT NULL,
  message_key bytea NOT NULL,
  message_iv bytea NOT NULL,
  PRIMARY KEY (connection_id, header_key, message_number)
);

CREATE TABLE confirmations (
  confirmation_id text NOT NULL,
  connection_id text NOT NULL,
  sender_key bytea,
  reply_queues bytea NOT NULL,
  own_info bytea,
  created_at bigint NOT NULL,
  PRIMARY KEY (confirmation_id)
);
CREATE INDEX confirmations_connection_id ON confirmations (connection_id);

CREATE TABLE commands (
  command_id bigint NOT NULL,
  connection_id text NOT NULL,
  user_id bigint NOT NULL,
  router text NOT NULL,
  type text NOT NULL,
  argument jsonb NOT NULL,
  secret bytea,
  correlation_id text,
  created_at bigint NOT NULL,
  PRIMARY KEY (command_id)
);
CREATE INDEX commands_connection_id_router ON commands (connection_id, router);

CREATE TABLE snd_messages (
  connection_id text NOT NULL,
  message_id bigint NOT NULL,
  send_id bigint NOT NULL,
  type text NOT NULL,
  body bytea,
  header bytea,
  padded_length bigint NOT NULL,
  encrypted bytea,
  previous_hash bytea NOT NULL,
  hash bytea NOT NULL,
  notify boolean NOT NULL,
  idempotency_key text,
  created_at bigint NOT NULL,
  PRIMARY KEY (connection_id, message_id),
  UNIQUE (connection_id, idempotency_key)
);

CREATE TABLE deliveries (
  queue_id text NOT NULL,
  message_id bigint NOT NULL,
  connection_id text NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (queue_id, message_id)
);
CREATE INDEX deliveries_connection_id ON deliveries (connection_id);

CREATE TABLE rcv_messages (
  connection_id text NOT NULL,
  message_id bigint NOT NULL,
  queue_id text NOT NULL,
  broker_id bytea NOT NULL,
  encrypted_hash bytea NOT NULL,
  internal_hash bytea NOT NULL,
  sender_message_id bigint NOT NULL,
  type text NOT NULL,
  state text NOT NULL,
  attempts bigint NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (connection_id, message_id)
);
CREATE INDEX rcv_messages_connection_id_encrypted_hash ON rcv_messages (connection_id, encrypted_hash);

CREATE TABLE events (
  cursor bigint NOT NULL,
  at bigint NOT NULL,
  network text NOT NULL,
  user_id bigint NOT NULL,
  connection_id text NOT NULL,
  message_id bigint,
  correlation_id text,
  trace_id text NOT NULL,
  type text NOT NULL,
  payload jsonb NOT NULL,
  body bytea,
  PRIMARY KEY (cursor)
);
CREATE INDEX events_connection_id_message_id ON events (connection_id, message_id);

CREATE TABLE event_consumers (
  consumer text NOT NULL,
  from_cursor bigint NOT NULL,
  PRIMARY KEY (consumer)
);

CREATE TABLE event_acks (
  cursor bigint NOT NULL,
  consumer text NOT NULL,
  PRIMARY KEY (cursor, consumer)
);

CREATE TABLE counters (
  name text NOT NULL,
  value bigint NOT NULL,
  PRIMARY KEY (name)
);

