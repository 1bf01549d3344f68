-- Waiting for devices that are away, and removing what is old.

-- What becomes of the command while its gateway device is away.
ALTER TABLE command ADD COLUMN offline_policy TEXT NOT NULL DEFAULT 'FAIL_FAST'
    CONSTRAINT offline_policy_is_known CHECK (offline_policy IN ('FAIL_FAST', 'QUEUE'));

-- One row: how far back the events are whole. A fleet watch cannot go on from before it.
CREATE TABLE event_horizon (
    only_row    INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    -- The newest event that has been removed; 0 when none has.
    removed_seq INTEGER NOT NULL
) STRICT;

INSERT INTO event_horizon (only_row, removed_seq) VALUES (1, 0);

-- Whose device sent the reply.
ALTER TABLE unmatched_response ADD COLUMN tenant TEXT NOT NULL DEFAULT 'default';
