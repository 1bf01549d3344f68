-- name: insert
-- It belongs to the tenant of the device that asks.
INSERT INTO device_request (id, tenant, gateway_id, request_type, tid, bid, payload, routing,
    received_at, expires_at, status, reply_code, reply_message, reply_source, reply, is_abridged,
    replied_by, replied_at, repeat_key)
VALUES (:id, coalesce((SELECT tenant FROM device WHERE id = :gateway_id), 'default'), :gateway_id,
    :request_type, :tid, :bid, :payload, :routing, :received_at, :expires_at, :status, :code,
    :message, :source, :shown, :is_abridged, :by, :at, :repeat_key)
RETURNING *;

-- name: trim
-- The newest ones are kept, and whatever is not closed.
DELETE FROM device_request
WHERE seq <= :up_to AND status <> 'PENDING' AND outgoing IS NULL;

-- name: answer
UPDATE device_request
SET status = 'REPLIED', reply_code = :code, reply_message = :message, reply_source = :source,
    reply = :shown, is_abridged = :is_abridged, replied_by = :by, replied_at = :at,
    outgoing = :outgoing
WHERE id = :id AND status = 'PENDING'
RETURNING *;

-- name: sent
UPDATE device_request SET outgoing = NULL WHERE id = :id;

-- name: expire
UPDATE device_request SET status = 'EXPIRED' WHERE id = :id AND status = 'PENDING'
RETURNING *;

-- name: not_sent
UPDATE device_request SET status = 'EXPIRED', outgoing = NULL
WHERE id = :id AND status = 'REPLIED'
RETURNING *;

-- name: find
SELECT * FROM device_request WHERE repeat_key = :repeat_key AND status <> 'EXPIRED';

-- name: get
SELECT * FROM device_request WHERE tenant = :tenant AND id = :id;

-- name: list
-- A walk along the order of arrival: there are never more than a few thousand.
SELECT * FROM device_request
WHERE tenant = :tenant AND seq < :before
    AND (:gateway_id = '' OR gateway_id = :gateway_id)
    AND (:gateways IS NULL OR gateway_id IN (SELECT value FROM json_each(:gateways)))
    AND (:request_type = '' OR request_type = :request_type)
    AND (:statuses = '[]' OR status IN (SELECT value FROM json_each(:statuses)))
ORDER BY seq DESC
LIMIT :limit;

-- name: gateways
SELECT DISTINCT gateway_id FROM device_request WHERE tenant = :tenant;

-- name: waiting
SELECT * FROM device_request WHERE status = 'PENDING' ORDER BY seq;

-- name: unsent
SELECT *, outgoing FROM device_request WHERE outgoing IS NOT NULL ORDER BY seq;
