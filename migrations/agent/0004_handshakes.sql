-- Which call made a connection; so far only createConnection left a link or X3DH keys.
ALTER TABLE connections ADD COLUMN origin text NOT NULL DEFAULT 'joined';
UPDATE connections SET origin = 'created' WHERE link IS NOT NULL OR x3dh_keys IS NOT NULL;
ALTER TABLE connections ALTER COLUMN origin DROP DEFAULT;

-- What the next steps of a handshake need: so far in the commands, with the length of the first part in two bytes.
CREATE TABLE handshakes (
  connection_id text NOT NULL,
  e2e_params bytea,
  contact_queue bytea,
  info bytea NOT NULL,
  PRIMARY KEY (connection_id)
);
INSERT INTO handshakes (connection_id, e2e_params, info)
  SELECT connection_id,
    substring(secret FROM 3 FOR get_byte(secret, 0) * 256 + get_byte(secret, 1)),
    substring(secret FROM 3 + get_byte(secret, 0) * 256 + get_byte(secret, 1))
  FROM commands WHERE type IN ('secureSend', 'createReply') AND secret IS NOT NULL;
UPDATE commands SET secret = NULL WHERE type IN ('secureSend', 'createReply', 'allowSecure');

CREATE TABLE invitations (
  invitation_id text NOT NULL,
  connection_id text NOT NULL,
  user_id bigint NOT NULL,
  request text NOT NULL,
  request_hash bytea NOT NULL,
  accepted boolean NOT NULL,
  accepted_by text,
  created_at bigint NOT NULL,
  PRIMARY KEY (invitation_id),
  UNIQUE (connection_id, request_hash)
);
CREATE INDEX invitations_accepted_by ON invitations (accepted_by);
