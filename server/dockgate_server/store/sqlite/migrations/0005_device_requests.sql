-- What devices ask for. Secrets are in none of the columns but `outgoing`.
CREATE TABLE device_request (
    seq           INTEGER PRIMARY KEY AUTOINCREMENT,
    id            TEXT    NOT NULL UNIQUE,
    tenant        TEXT    NOT NULL,
    gateway_id    TEXT    NOT NULL,
    request_type  TEXT    NOT NULL,
    tid           TEXT    NOT NULL,
    bid           TEXT    NOT NULL,
    payload       BLOB    NOT NULL,
    routing       TEXT    NOT NULL CHECK (routing IN ('AUTO', 'INBOX')),
    received_at   INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,

    status        TEXT    NOT NULL CHECK (status IN ('PENDING', 'REPLIED', 'EXPIRED')),
    reply_code    INTEGER,
    reply_message TEXT    NOT NULL DEFAULT '',
    reply_source  TEXT    CHECK (reply_source IN ('AUTO', 'MANUAL')),
    reply         BLOB,
    -- Whether secrets were left out of `reply`, so that it cannot be sent again.
    is_abridged   INTEGER NOT NULL DEFAULT 0 CHECK (is_abridged IN (0, 1)),
    replied_by    TEXT    NOT NULL DEFAULT '',
    replied_at    INTEGER,
    -- The `data` of the answer as it is to be sent; null once the broker has taken it.
    outgoing      BLOB,

    -- One that has expired has these too, when its answer could not be sent in time.
    CONSTRAINT replied_has_a_time CHECK (status <> 'REPLIED' OR replied_at IS NOT NULL),
    CONSTRAINT pending_has_none CHECK (status <> 'PENDING' OR replied_at IS NULL),
    CONSTRAINT only_replied_is_sent CHECK (outgoing IS NULL OR status = 'REPLIED')
) STRICT;

-- A device repeats what is not answered, with the same tid. One that still asks when its request
-- has expired gets a new one.
CREATE UNIQUE INDEX device_request_tid ON device_request (gateway_id, tid, request_type)
    WHERE status <> 'EXPIRED';
CREATE INDEX device_request_pending ON device_request (seq) WHERE status = 'PENDING';
CREATE INDEX device_request_outgoing ON device_request (seq) WHERE outgoing IS NOT NULL;
