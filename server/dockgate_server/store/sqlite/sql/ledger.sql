-- name: insert_unmatched
-- It belongs to the tenant of the device that sent it.
INSERT INTO unmatched_response (gateway_id, tid, method, reason, data, received_at, tenant)
VALUES (:gateway_id, :tid, :method, :reason, :data, :received_at,
    coalesce((SELECT tenant FROM device WHERE id = :gateway_id), 'default'))
RETURNING seq;

-- name: trim_unmatched
-- The ledger keeps the newest ones only.
DELETE FROM unmatched_response WHERE seq <= :up_to;

-- name: list_unmatched
SELECT seq, gateway_id, tid, method, reason, data, received_at FROM unmatched_response
WHERE tenant = :tenant AND seq < :before AND (:gateway_id = '' OR gateway_id = :gateway_id)
    AND (:gateways IS NULL OR gateway_id IN (SELECT value FROM json_each(:gateways)))
ORDER BY seq DESC
LIMIT :limit;

-- name: unmatched_gateways
SELECT DISTINCT gateway_id FROM unmatched_response WHERE tenant = :tenant;

-- name: newest_unmatched
SELECT seq FROM sqlite_sequence WHERE name = 'unmatched_response';
