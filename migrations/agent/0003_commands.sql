-- Queues that take no more messages because their connection was suspended (OFF).
ALTER TABLE rcv_queues ADD COLUMN suspended boolean NOT NULL DEFAULT false;
