-- name: put_device
-- A drone under two gateways belongs to the latest topology.
INSERT INTO device (id, tenant, gateway_id, model, seen_at)
VALUES (:id, :tenant, :gateway_id, :model, :seen_at)
ON CONFLICT (id) DO UPDATE
SET gateway_id = excluded.gateway_id, model = excluded.model, seen_at = excluded.seen_at;

-- name: list_devices
SELECT tenant, id, gateway_id, model FROM device ORDER BY id;
