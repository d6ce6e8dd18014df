CREATE TABLE plain (
  id text NOT NULL,
  count bigint NOT NULL,
  flag boolean NOT NULL,
  data bytea NOT NULL,
  extra jsonb NOT NULL,
  maybe_text text,
  maybe_count bigint,
  maybe_flag boolean,
  maybe_data bytea,
  maybe_extra jsonb,
  PRIMARY KEY (id)
);
CREATE INDEX plain_count ON plain (count);
CREATE INDEX plain_maybe_text_count ON plain (maybe_text, count);

CREATE TABLE items (
  owner_id text NOT NULL,
  item_id bigint NOT NULL,
  state text NOT NULL,
  note text,
  body bytea NOT NULL,
  PRIMARY KEY (owner_id, item_id)
);
CREATE INDEX items_state_item_id ON items (state, item_id);

CREATE TABLE accounts (
  id bytea NOT NULL,
  email text NOT NULL,
  tenant bigint NOT NULL,
  number bigint,
  PRIMARY KEY (id),
  UNIQUE (email),
  UNIQUE (tenant, number)
);
