-- Whether the key of a sent message depends on a secret of the KEM: none did so far.
ALTER TABLE snd_messages ADD COLUMN pq_encryption boolean NOT NULL DEFAULT false;
ALTER TABLE snd_messages ALTER COLUMN pq_encryption DROP DEFAULT;
