CREATE TABLE signal_accounts (
  account_id text NOT NULL,
  user_id bigint NOT NULL,
  status text NOT NULL,
  aci text NOT NULL,
  pni text,
  e164 text,
  device_id bigint,
  device_name text NOT NULL,
  password text NOT NULL,
  registration_id bigint NOT NULL,
  pni_registration_id bigint NOT NULL,
  aci_identity_key bytea NOT NULL,
  pni_identity_key bytea,
  profile_key bytea,
  next_key_id bigint NOT NULL,
  keys_rotated_at bigint,
  created_at bigint NOT NULL,
  PRIMARY KEY (account_id)
);

CREATE TABLE signal_pre_keys (
  account_id text NOT NULL,
  own text NOT NULL,
  kind text NOT NULL,
  key_id bigint NOT NULL,
  record bytea NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (account_id, own, kind, key_id)
);

CREATE TABLE signal_recipients (
  recipient_id text NOT NULL,
  user_id bigint NOT NULL,
  aci text,
  pni text,
  e164 text,
  profile_key bytea,
  sealed text NOT NULL,
  registered boolean NOT NULL,
  last_message_id bigint NOT NULL,
  merged_into text,
  created_at bigint NOT NULL,
  PRIMARY KEY (recipient_id),
  UNIQUE (user_id, aci),
  UNIQUE (user_id, pni),
  UNIQUE (user_id, e164)
);

CREATE TABLE signal_identities (
  peer text NOT NULL,
  user_id bigint NOT NULL,
  identity_key bytea NOT NULL,
  created_at bigint NOT NULL,
  changed_at bigint NOT NULL,
  PRIMARY KEY (peer)
);

CREATE TABLE signal_sessions (
  peer text NOT NULL,
  own text NOT NULL,
  device_id bigint NOT NULL,
  user_id bigint NOT NULL,
  record bytea NOT NULL,
  updated_at bigint NOT NULL,
  PRIMARY KEY (peer, own, device_id)
);

CREATE TABLE recipient_devices (
  peer text NOT NULL,
  aci text NOT NULL,
  device_id bigint NOT NULL,
  user_id bigint NOT NULL,
  registration_id bigint,
  last_seen bigint NOT NULL,
  PRIMARY KEY (peer, device_id)
);
CREATE INDEX recipient_devices_aci ON recipient_devices (aci);

CREATE TABLE signal_messages (
  recipient_id text NOT NULL,
  message_id bigint NOT NULL,
  user_id bigint NOT NULL,
  timestamp bigint NOT NULL,
  kind text NOT NULL,
  content bytea,
  state text NOT NULL,
  resends bigint NOT NULL,
  idempotency_key text,
  correlation_id text NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (recipient_id, message_id),
  UNIQUE (recipient_id, idempotency_key)
);
CREATE INDEX signal_messages_user_id_timestamp ON signal_messages (user_id, timestamp);
CREATE INDEX signal_messages_created_at ON signal_messages (created_at);

CREATE TABLE signal_outbox (
  recipient_id text NOT NULL,
  message_id bigint NOT NULL,
  user_id bigint NOT NULL,
  encrypted bytea,
  resend boolean NOT NULL,
  wait_until bigint,
  wait_reason text,
  created_at bigint NOT NULL,
  PRIMARY KEY (recipient_id, message_id)
);

CREATE TABLE signal_sync_items (
  account_id text NOT NULL,
  item_id bigint NOT NULL,
  user_id bigint NOT NULL,
  timestamp bigint NOT NULL,
  content bytea NOT NULL,
  encrypted bytea,
  wait_until bigint,
  correlation_id text NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (account_id, item_id)
);

CREATE TABLE signal_seen (
  hash bytea NOT NULL,
  user_id bigint NOT NULL,
  peer text NOT NULL,
  device_id bigint NOT NULL,
  timestamp bigint,
  created_at bigint NOT NULL,
  PRIMARY KEY (hash)
);
CREATE INDEX signal_seen_peer_device_id_timestamp ON signal_seen (peer, device_id, timestamp);
CREATE INDEX signal_seen_created_at ON signal_seen (created_at);

CREATE TABLE signal_attachments (
  recipient_id text NOT NULL,
  message_id bigint NOT NULL,
  position bigint NOT NULL,
  user_id bigint NOT NULL,
  pointer bytea NOT NULL,
  created_at bigint NOT NULL,
  PRIMARY KEY (recipient_id, message_id, position)
);
CREATE INDEX signal_attachments_created_at ON signal_attachments (created_at);
