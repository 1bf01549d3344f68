-- Each change of a command is one guarded update: no row back means that the guard did not
-- hold, because somebody else had decided before. The guards are those of
-- model/transitions.py; model/lifecycle.py has the picture. The changes of every life return the
-- columns that may change, in the order of the table: the rest is known.

-- name: insert_command
-- No change: the tenant has used the idempotency key.
INSERT INTO command (
    seq, id, tenant, principal, vendor, device_id, gateway_id, channel, command_type, data,
    timeout_seconds, accepted_at, deadline_at, job_key, status, revision, updated_at, sending_at,
    idempotency_key, content_hash, offline_policy, sealed
) VALUES (
    :seq, :id, :tenant, :principal, :vendor, :device_id, :gateway_id, :channel, :command_type,
    :data, :timeout_seconds, :accepted_at, :deadline_at, :job_key, 'ACCEPTED', :revision,
    :updated_at, :sending_at, :idempotency_key, :content_hash, :offline_policy, :sealed
)
ON CONFLICT (tenant, idempotency_key) DO NOTHING;

-- name: begin_sending
UPDATE command
SET sending_at = :at, updated_at = :at, revision = revision + 1
WHERE id IN (SELECT value FROM json_each(:ids)) AND status = 'ACCEPTED' AND sending_at IS NULL
RETURNING seq, status, revision, updated_at, sending_at, delivered_at, completed_at,
    completion_basis, response_received_at, response_code, response_message, vendor_response,
    failure_code, failure_reason, job, sealed;

-- name: take_back
-- The message that was announced has certainly reached nobody.
UPDATE command
SET sending_at = NULL, updated_at = :at, revision = revision + 1
WHERE id = :id AND status = 'ACCEPTED' AND sending_at IS NOT NULL
RETURNING *;

-- name: cancel
UPDATE command
SET status = 'FAILED', failure_code = 'CANCELLED', failure_reason = :reason,
    completed_at = :at, updated_at = :at, revision = revision + 1, sealed = NULL
WHERE id = :id AND status = 'ACCEPTED' AND sending_at IS NULL
RETURNING *;

-- name: confirm_delivery
-- The answer may have overtaken the acknowledgement; then the command has ended already.
UPDATE command
SET status = 'DELIVERED', delivered_at = :at, updated_at = :at, revision = revision + 1
WHERE id IN (SELECT value FROM json_each(:ids)) AND status = 'ACCEPTED'
RETURNING seq, status, revision, updated_at, sending_at, delivered_at, completed_at,
    completion_basis, response_received_at, response_code, response_message, vendor_response,
    failure_code, failure_reason, job, sealed;

-- name: complete_send
UPDATE command
SET status = 'SUCCEEDED', completion_basis = 'LOCAL_SEND', completed_at = :at, updated_at = :at,
    revision = revision + 1, sealed = NULL
WHERE id = :id AND status = 'ACCEPTED'
RETURNING *;

-- name: refuse
UPDATE command
SET status = 'FAILED', failure_code = :code, failure_reason = :reason,
    completed_at = :at, updated_at = :at, revision = revision + 1, sealed = NULL
WHERE id = :id AND status = 'ACCEPTED'
RETURNING *;

-- name: expire
-- How far the command had come decides the code: acknowledged by the broker, perhaps sent, or
-- never sent.
UPDATE command
SET status = 'TIMED_OUT',
    failure_code = CASE
        WHEN delivered_at IS NOT NULL THEN 'RESPONSE_TIMEOUT'
        WHEN sending_at IS NOT NULL THEN 'OUTCOME_UNKNOWN'
        ELSE 'DELIVERY_TIMEOUT' END,
    failure_reason = CASE
        WHEN delivered_at IS NOT NULL THEN :response_timeout
        WHEN sending_at IS NOT NULL THEN :outcome_unknown
        ELSE :delivery_timeout END,
    completed_at = :at, updated_at = :at, revision = revision + 1, sealed = NULL
WHERE id IN (SELECT value FROM json_each(:ids)) AND status IN ('ACCEPTED', 'DELIVERED')
RETURNING seq, status, revision, updated_at, sending_at, delivered_at, completed_at,
    completion_basis, response_received_at, response_code, response_message, vendor_response,
    failure_code, failure_reason, job, sealed;

-- name: end_by_reply
-- The reply may be the first sign that the message arrived: delivered_at comes with it. Events
-- of the job that overtook it know more of the job than the reply, which only starts it.
UPDATE command
SET status = reply.status, completion_basis = 'DEVICE_REPLY',
    response_received_at = reply.at, response_code = reply.code, response_message = reply.message,
    vendor_response = reply.data, failure_code = reply.failure_code,
    failure_reason = reply.failure_reason, job = coalesce(command.job, reply.job),
    sending_at = coalesce(sending_at, reply.at), delivered_at = coalesce(delivered_at, reply.at),
    completed_at = reply.at, updated_at = reply.at, revision = revision + 1, sealed = NULL
FROM (
    SELECT column1 AS id, column2 AS at, column3 AS status, column4 AS code, column5 AS message,
        column6 AS data, column7 AS failure_code, column8 AS failure_reason, column9 AS job
    FROM (VALUES (:id, :at, :status, :code, :message, :data, :failure_code, :failure_reason, :job))
) AS reply
WHERE command.id = reply.id AND command.status IN ('ACCEPTED', 'DELIVERED')
RETURNING seq, status, revision, updated_at, sending_at, delivered_at, completed_at,
    completion_basis, response_received_at, response_code, response_message, vendor_response,
    failure_code, failure_reason, job, sealed;

-- name: end_unmatched
UPDATE command
SET status = 'UNMATCHED_RESPONSE', completed_at = :at, updated_at = :at,
    revision = revision + 1, sealed = NULL
WHERE id = :id AND status IN ('ACCEPTED', 'DELIVERED')
RETURNING *;

-- name: record_late_reply
-- The true answer after the end: recorded where nothing stands yet, the status stays.
UPDATE command
SET response_received_at = :at, response_code = :code, response_message = :message,
    vendor_response = :data, job = coalesce(job, :job), updated_at = :at, revision = revision + 1
WHERE id = :id AND status NOT IN ('ACCEPTED', 'DELIVERED') AND response_received_at IS NULL
RETURNING *;

-- name: note_reply
-- A reply that changes nothing, noted as an event. The limit keeps a device that repeats
-- itself for ever from filling the disk.
UPDATE command
SET updated_at = :at, revision = revision + 1
WHERE id = :id AND status NOT IN ('ACCEPTED', 'DELIVERED')
    AND :limit > (SELECT count(*) FROM command_event AS e
                  WHERE e.command_seq = command.seq AND e.kind IN ('REPLIED', 'UNMATCHED_REPLY'))
RETURNING *;

-- name: record_job
-- The last word on a job is final, like the end of a command. A report that only repeats the one
-- before is no change.
UPDATE command
SET job = :job, updated_at = :at, revision = revision + 1
WHERE seq = :seq
    AND (job IS NULL
        OR (json_extract(job, '$.state') IN ('SENT', 'IN_PROGRESS', 'PAUSED', 'STALLED')
            AND json_remove(job, '$.updated_at') <> json_remove(:job, '$.updated_at')))
RETURNING *;

-- name: stall_job
-- A report that came meanwhile differs, and the guard does not hold. Its time alone would not do:
-- a clock that was set back can give two reports the same.
UPDATE command
SET job = CASE
        WHEN job IS NULL THEN json_object('state', 'STALLED', 'updated_at', :at)
        ELSE json_set(job, '$.state', 'STALLED') END,
    updated_at = :at, revision = revision + 1
WHERE id = :id AND status = 'SUCCEEDED'
    AND json_extract(job, '$.updated_at', '$.percent', '$.step') IS :heard
    AND (job IS NULL OR json_extract(job, '$.state') IN ('SENT', 'IN_PROGRESS'))
RETURNING *;

-- name: find_job
-- The newest of those that were sent; one that failed only where there is no other, as it should
-- have started nothing. The same rule stands in sources.sql.
SELECT seq, command_type FROM command
WHERE gateway_id = :gateway_id AND job_key = :job_key AND sending_at IS NOT NULL
ORDER BY status = 'FAILED', seq DESC;

-- name: insert_event
INSERT INTO command_event (seq, command_seq, revision, kind, occurred_at, state, reply, note)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: get_command
SELECT * FROM command WHERE id = :id AND tenant = :tenant;

-- name: get_commands_of_any_tenant
-- For the devices' side only: a reply names a command by its tid and knows no tenant.
SELECT * FROM command WHERE id IN (SELECT value FROM json_each(?));

-- name: get_command_by_drc_seq
-- DRC knows no tid: the sequence number is the command's own.
SELECT * FROM command
WHERE seq = :seq AND gateway_id = :gateway_id AND command_type = :command_type
    AND channel = 'drc';

-- name: get_outstanding_drc_commands
-- For answers without a sequence number; two are enough to see that it is not clear whose.
SELECT * FROM command
WHERE id IN (SELECT value FROM json_each(:among)) AND status IN ('ACCEPTED', 'DELIVERED')
    AND gateway_id = :gateway_id AND command_type = :command_type AND channel = 'drc'
    AND sending_at IS NOT NULL
ORDER BY seq
LIMIT 2;

-- name: get_command_by_key
SELECT * FROM command WHERE tenant = :tenant AND idempotency_key = :idempotency_key;

-- name: open_commands
SELECT * FROM command
WHERE status IN ('ACCEPTED', 'DELIVERED') AND seq > :after
ORDER BY seq
LIMIT :limit;

-- name: open_places
-- For counting them; found by the index command_open.
SELECT seq, gateway_id, principal, command_type FROM command
WHERE status IN ('ACCEPTED', 'DELIVERED');

-- name: commands_with_open_jobs
-- As the index command_job_open has it; a stalled job waits for nothing but the device.
SELECT * FROM command
WHERE status = 'SUCCEEDED' AND job_key IS NOT NULL
    AND (job IS NULL OR json_extract(job, '$.state') IN ('SENT', 'IN_PROGRESS'))
    AND seq > :after
ORDER BY seq
LIMIT :limit;

-- name: last_sent
-- Only what was accepted later is looked at, so this is quick from a recent command on.
-- What ended as DEVICE_OFFLINE has certainly reached nobody.
SELECT gateway_id, command_type, max(seq) FROM command
WHERE seq >= :from_seq AND sending_at IS NOT NULL AND failure_code IS NOT 'DEVICE_OFFLINE'
GROUP BY gateway_id, command_type;

-- name: list_open_commands
-- When only open ones are wanted: those are few, and in the index command_open. The plus keeps
-- SQLite from walking all of the tenant's commands instead.
SELECT * FROM command
WHERE +tenant = :tenant AND seq < :before AND status IN ('ACCEPTED', 'DELIVERED')
    AND (:device_id = '' OR device_id = :device_id)
    AND (:targets = 'null' OR (gateway_id, device_id) IN (
        SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]') FROM json_each(:targets)))
    AND (:command_type = '' OR command_type = :command_type)
    AND status IN (SELECT value FROM json_each(:statuses))
ORDER BY seq DESC
LIMIT :limit;

-- name: list_commands
-- Which of the indices is best depends on whether a device is given: two queries.
SELECT * FROM command
WHERE tenant = :tenant AND seq < :before
    AND (:command_type = '' OR command_type = :command_type)
    AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses)))
ORDER BY seq DESC
LIMIT :limit;

-- name: list_commands_of_device
-- Of each gateway that it was reached by the newest that pass, and of these the newest: the index
-- command_target has them in order for each gateway.
WITH RECURSIVE gateway (id) AS (
    SELECT min(gateway_id) FROM command WHERE tenant = :tenant AND device_id = :device_id
    UNION ALL
    SELECT (
        SELECT min(gateway_id) FROM command
        WHERE tenant = :tenant AND device_id = :device_id AND gateway_id > g.id)
    FROM gateway AS g WHERE g.id IS NOT NULL)
SELECT * FROM command
WHERE seq IN (
    SELECT newest.value FROM gateway AS g, json_each((
        SELECT json_group_array(seq) FROM (
            SELECT seq FROM command
            WHERE tenant = :tenant AND device_id = :device_id AND gateway_id = g.id
                AND seq < :before
                AND (:command_type = '' OR command_type = :command_type)
                AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses)))
            ORDER BY seq DESC
            LIMIT :limit))) AS newest)
ORDER BY seq DESC
LIMIT :limit;

-- name: list_commands_among
-- The same of some targets only, each a pair of gateway and device.
SELECT * FROM command
WHERE seq IN (
    SELECT newest.value FROM json_each(:targets) AS target, json_each((
        SELECT json_group_array(seq) FROM (
            SELECT seq FROM command
            WHERE tenant = :tenant AND gateway_id = json_extract(target.value, '$[0]')
                AND device_id = json_extract(target.value, '$[1]') AND seq < :before
                AND (:command_type = '' OR command_type = :command_type)
                AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses)))
            ORDER BY seq DESC
            LIMIT :limit))) AS newest)
ORDER BY seq DESC
LIMIT :limit;

-- name: targets
-- From each to the next one in the index command_target: as many steps as there are targets, however
-- many commands went to them.
WITH RECURSIVE
    device (id) AS (
        SELECT min(device_id) FROM command WHERE tenant = :tenant
        UNION ALL
        SELECT (SELECT min(device_id) FROM command WHERE tenant = :tenant AND device_id > d.id)
        FROM device AS d WHERE d.id IS NOT NULL),
    target (device_id, gateway_id) AS (
        SELECT d.id, (
            SELECT min(gateway_id) FROM command WHERE tenant = :tenant AND device_id = d.id)
        FROM device AS d WHERE d.id IS NOT NULL
        UNION ALL
        SELECT t.device_id, (
            SELECT min(gateway_id) FROM command
            WHERE tenant = :tenant AND device_id = t.device_id AND gateway_id > t.gateway_id)
        FROM target AS t WHERE t.gateway_id IS NOT NULL)
SELECT gateway_id, device_id FROM target WHERE gateway_id IS NOT NULL;

-- name: events_of_command
SELECT e.*, c.* FROM command AS c
JOIN command_event AS e ON e.command_seq = c.seq
WHERE c.id = :id AND c.tenant = :tenant AND e.revision > :after
ORDER BY e.revision
LIMIT :limit;

-- name: events_of_all_commands
SELECT e.*, c.* FROM command_event AS e
JOIN command AS c ON c.seq = e.command_seq
WHERE e.seq > :after
ORDER BY e.seq
LIMIT :limit;

-- name: newest_event_seq
-- Also when it has been removed: its number is not used again.
SELECT seq FROM sqlite_sequence WHERE name = 'command_event';

-- name: newest_number
SELECT seq FROM sqlite_sequence WHERE name = ?;
