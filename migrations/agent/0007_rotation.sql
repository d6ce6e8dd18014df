-- During a rotation a message may wait for two queues: once a router has it, the other delivery tells nothing any more.
ALTER TABLE deliveries ADD COLUMN sent boolean NOT NULL DEFAULT false;
