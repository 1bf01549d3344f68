-- What devices tell by themselves.
CREATE TABLE device_event (
    -- The order of recording: the cursor of a watch.
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    tenant      TEXT    NOT NULL,
    gateway_id  TEXT    NOT NULL,
    method      TEXT    NOT NULL,
    tid         TEXT    NOT NULL,
    bid         TEXT    NOT NULL,
    need_reply  INTEGER NOT NULL CHECK (need_reply IN (0, 1)),
    data        BLOB    NOT NULL,
    received_at INTEGER NOT NULL,
    -- What a repetition has in common with it: a digest of gateway, tid, method and data.
    repeat_key  BLOB,
    -- When the answer was handed to the broker; null when none was.
    answered_at INTEGER
) STRICT;

-- A device repeats what is not answered; it is stored once.
CREATE UNIQUE INDEX device_event_repeat ON device_event (repeat_key)
    WHERE repeat_key IS NOT NULL;

-- One row: how far back the events are whole. A watch cannot go on from before it.
CREATE TABLE device_event_horizon (
    only_row    INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    -- The newest event that has been removed; 0 when none has.
    removed_seq INTEGER NOT NULL
) STRICT;

INSERT INTO device_event_horizon (only_row, removed_seq) VALUES (1, 0);
