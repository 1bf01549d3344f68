-- Secrets: sealed while a command is open, gone when it has ended.

-- The whole `data`, sealed, of a command with secrets; `data` then has null in their place. The
-- constraint sees to it that no way of ending a command forgets to wipe it.
ALTER TABLE command ADD COLUMN sealed BLOB
    CONSTRAINT only_open_is_sealed CHECK (sealed IS NULL OR status IN ('ACCEPTED', 'DELIVERED'));

-- Keys that must outlive the sealing key, sealed with it: so these also prove which one it is.
CREATE TABLE kept_key (
    purpose TEXT NOT NULL PRIMARY KEY,
    sealed  BLOB NOT NULL
) STRICT;

-- One row: whether secrets of the time before are still to be taken out of the database.
CREATE TABLE cleaning (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    is_due   INTEGER NOT NULL CHECK (is_due IN (0, 1))
) STRICT;

INSERT INTO cleaning (only_row, is_due) VALUES (1, 1);

-- As before, but secrets can be taken out or sealed anew, which is no change of the command.
DROP TRIGGER command_revisions_have_no_gap;
CREATE TRIGGER command_revisions_have_no_gap
BEFORE UPDATE OF status, revision, updated_at, sending_at, delivered_at, completed_at,
    completion_basis, response_received_at, response_code, response_message, failure_code,
    failure_reason, job ON command
WHEN NEW.revision <> OLD.revision + 1
BEGIN
    SELECT RAISE(ABORT, 'every change of a command takes the next revision');
END;
