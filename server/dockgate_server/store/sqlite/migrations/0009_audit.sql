-- Who asked for what, from where, and what became of it. Each entry is chained to the one before it
-- by its MAC; see store/audit.py.
CREATE TABLE audit (
    -- Without a gap from the anchor on. No column has a CHECK: each would cost every submission.
    seq        INTEGER PRIMARY KEY,
    at         INTEGER NOT NULL,
    action     TEXT    NOT NULL,
    outcome    TEXT    NOT NULL,
    tenant     TEXT    NOT NULL,
    principal  TEXT    NOT NULL,
    is_proven  INTEGER NOT NULL,
    transport  TEXT    NOT NULL,
    peer       TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    reason     TEXT    NOT NULL,
    target     TEXT    NOT NULL,
    device_id  TEXT    NOT NULL,
    method     TEXT    NOT NULL,
    dangerous  INTEGER NOT NULL,
    digest     BLOB    NOT NULL,
    -- How many the entry stands for.
    calls      INTEGER NOT NULL,
    mac        BLOB    NOT NULL
) STRICT;

-- One row: what was removed last from the old end, from which the chain goes on.
CREATE TABLE audit_anchor (
    only_row      INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    seq           INTEGER NOT NULL,
    mac           BLOB    NOT NULL CHECK (length(mac) = 32),
    -- A MAC over both: only who has the key may remove entries.
    seal          BLOB    NOT NULL,
    -- In a backup, when it was taken; null in what was never restored.
    restored_from INTEGER
) STRICT;

INSERT INTO audit_anchor (only_row, seq, mac, seal) VALUES (1, 0, zeroblob(32), zeroblob(0));

-- Against mistakes. Who means to can drop them; that is what the chain is for.
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_is_not_removed BEFORE DELETE ON audit
WHEN old.seq > (SELECT seq FROM audit_anchor)
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_anchor_only_rises BEFORE UPDATE ON audit_anchor WHEN new.seq < old.seq
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;

CREATE TRIGGER audit_anchor_stays BEFORE DELETE ON audit_anchor
BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END;
