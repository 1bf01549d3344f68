-- What makes a copy of the database safe to go on from; see backup.py.

-- name: end_open
UPDATE command
SET status = 'TIMED_OUT', failure_code = 'OUTCOME_UNKNOWN', failure_reason = :reason,
    completed_at = :at, updated_at = :at, revision = revision + 1, sealed = NULL
WHERE status IN ('ACCEPTED', 'DELIVERED')
RETURNING *;

-- name: number_from_the_start
-- A table that has had no row yet has no number to raise.
INSERT INTO sqlite_sequence (name, seq)
SELECT :name, 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = :name);

-- name: skip_numbers
UPDATE sqlite_sequence SET seq = seq + :skipped WHERE name = :name;

-- name: expire_cursors
UPDATE event_horizon
SET removed_seq = (SELECT seq FROM sqlite_sequence WHERE name = 'command_event');

-- name: expire_event_cursors
UPDATE device_event_horizon
SET removed_seq = (SELECT seq FROM sqlite_sequence WHERE name = 'device_event');

-- name: close_requests
-- The devices that asked have long been answered or given up. What was still to be sent may hold
-- secrets, which are in a backup for as long as it is kept.
UPDATE device_request SET status = 'EXPIRED', outgoing = NULL
WHERE status = 'PENDING' OR outgoing IS NOT NULL;

-- name: forget_presence
-- A device that was away then is not to fail a command fast now.
UPDATE device SET presence = 'UNKNOWN';

-- name: mark_as_backup
-- The gateway that is started on it writes that into the audit log.
UPDATE audit_anchor SET restored_from = :at;

-- name: count_commands
SELECT count(*) FROM command;
