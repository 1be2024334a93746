-- what the tokens cost, in millionths of the operator's unit
ALTER TABLE sessions ADD COLUMN cost_micros INTEGER NOT NULL DEFAULT 0;
