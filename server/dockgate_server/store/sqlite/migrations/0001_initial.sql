-- Commands, the events of their life, and what belongs to them.
-- All times are UTC milliseconds since 1970; all JSON as text, as it was parsed
-- (whole numbers beyond 64 bits have become doubles).

CREATE TABLE command (
    -- The order of acceptance. AUTOINCREMENT: numbers are never used again, so a cursor that
    -- names one stays true.
    seq                  INTEGER PRIMARY KEY AUTOINCREMENT,
    id                   TEXT    NOT NULL UNIQUE,
    tenant               TEXT    NOT NULL,
    principal            TEXT    NOT NULL,
    vendor               TEXT    NOT NULL,
    device_id            TEXT    NOT NULL,
    gateway_id           TEXT    NOT NULL,
    channel              TEXT    NOT NULL,
    command_type         TEXT    NOT NULL,
    data                 BLOB    NOT NULL,
    timeout_seconds      INTEGER NOT NULL CHECK (timeout_seconds BETWEEN 1 AND 300),
    accepted_at          INTEGER NOT NULL,
    deadline_at          INTEGER NOT NULL CHECK (deadline_at > accepted_at),
    job_key              TEXT,

    status               TEXT    NOT NULL,
    revision             INTEGER NOT NULL CHECK (revision >= 1),
    updated_at           INTEGER NOT NULL,
    sending_at           INTEGER,
    delivered_at         INTEGER,
    completed_at         INTEGER,
    completion_basis     TEXT,
    response_received_at INTEGER,
    response_code        TEXT,
    response_message     TEXT,
    vendor_response      BLOB,
    failure_code         TEXT,
    failure_reason       TEXT,
    job                  TEXT,

    idempotency_key      TEXT    NOT NULL,
    content_hash         BLOB    NOT NULL,

    CONSTRAINT status_is_known CHECK (status IN
        ('ACCEPTED', 'DELIVERED', 'SUCCEEDED', 'FAILED', 'TIMED_OUT', 'UNMATCHED_RESPONSE')),
    CONSTRAINT ends_have_a_time CHECK
        ((status IN ('ACCEPTED', 'DELIVERED')) = (completed_at IS NULL)),
    CONSTRAINT failures_have_a_code CHECK
        ((status IN ('FAILED', 'TIMED_OUT')) = (failure_code IS NOT NULL)),
    CONSTRAINT delivered_has_a_time CHECK
        (status <> 'DELIVERED' OR (delivered_at IS NOT NULL AND sending_at IS NOT NULL)),
    CONSTRAINT success_rests_on_something CHECK
        (status <> 'SUCCEEDED' OR completion_basis IS NOT NULL)
) STRICT;

CREATE UNIQUE INDEX command_idempotency ON command (tenant, idempotency_key);
-- For lists, newest first: every index ends in seq, the rowid.
CREATE INDEX command_tenant ON command (tenant);
CREATE INDEX command_device ON command (tenant, device_id);
-- For recovery at start: only the open ones are in it, so it stays small.
CREATE INDEX command_open ON command (seq) WHERE status IN ('ACCEPTED', 'DELIVERED');
-- For progress events, which name a job and not a command.
CREATE INDEX command_job ON command (gateway_id, job_key) WHERE job_key IS NOT NULL;

-- The last line of defence behind the guarded updates.
CREATE TRIGGER command_ends_are_final
BEFORE UPDATE OF status ON command
WHEN OLD.status NOT IN ('ACCEPTED', 'DELIVERED') AND NEW.status <> OLD.status
BEGIN
    SELECT RAISE(ABORT, 'the end of a command is final');
END;

CREATE TRIGGER command_revisions_have_no_gap
BEFORE UPDATE ON command
WHEN NEW.revision <> OLD.revision + 1
BEGIN
    SELECT RAISE(ABORT, 'every change of a command takes the next revision');
END;

CREATE TABLE command_event (
    -- The order of recording over all commands: the cursor of a fleet watch.
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    command_seq INTEGER NOT NULL REFERENCES command (seq),
    revision    INTEGER NOT NULL,
    kind        TEXT    NOT NULL,
    occurred_at INTEGER NOT NULL,
    -- What the command looked like right after the event (JSON of its changing columns), so
    -- that every event can be shown without the ones before it.
    state       BLOB    NOT NULL,
    reply       BLOB,
    note        TEXT    NOT NULL
) STRICT;

CREATE UNIQUE INDEX command_event_revision ON command_event (command_seq, revision);

-- Replies that fit no command.
CREATE TABLE unmatched_response (
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    gateway_id  TEXT    NOT NULL,
    tid         TEXT    NOT NULL,
    method      TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    data        BLOB    NOT NULL,
    received_at INTEGER NOT NULL
) STRICT;

-- The devices that can be reached, and by which gateway device.
CREATE TABLE device (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    gateway_id TEXT    NOT NULL,
    model      TEXT    NOT NULL,
    -- When the topology that says so came.
    seen_at    INTEGER NOT NULL
) STRICT;

-- API keys of the open API. The secret is sealed with a key from outside the database.
CREATE TABLE credential (
    api_id        TEXT    NOT NULL PRIMARY KEY,
    tenant        TEXT    NOT NULL,
    label         TEXT    NOT NULL,
    -- What it may do: names of scopes, separated by spaces.
    scopes        TEXT    NOT NULL,
    sealed_secret BLOB    NOT NULL,
    created_at    INTEGER NOT NULL,
    disabled_at   INTEGER
) STRICT;

-- Nonces that have been used, kept for as long as their timestamp would be accepted.
CREATE TABLE nonce (
    api_id     TEXT    NOT NULL,
    nonce      TEXT    NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (api_id, nonce)
) STRICT, WITHOUT ROWID;

CREATE INDEX nonce_expiry ON nonce (expires_at);
