-- name: put_device
-- A drone under two gateways belongs to the latest topology. Its tenant and name stay as they are.
INSERT INTO device (id, tenant, gateway_id, model, seen_at)
VALUES (:id, :tenant, :gateway_id, :model, :seen_at)
ON CONFLICT (id) DO UPDATE
SET gateway_id = excluded.gateway_id, model = excluded.model, seen_at = excluded.seen_at,
    listed = 1;

-- name: unlist_sub_devices
UPDATE device SET listed = 0 WHERE gateway_id = :gateway_id AND id <> :gateway_id;

-- name: list_devices
SELECT tenant, id, gateway_id, model, alias, callsign, listed FROM device ORDER BY id;

-- name: list_whereabouts
SELECT id, presence, heard_at FROM device;

-- name: note_whereabouts
UPDATE device SET presence = :presence, heard_at = coalesce(:heard_at, heard_at) WHERE id = :id;

-- name: free_alias
-- A name belongs to the device that was registered last.
UPDATE device SET alias = NULL WHERE tenant = :tenant AND alias = :alias AND id <> :id;

-- name: register_device
INSERT INTO device (id, tenant, gateway_id, model, seen_at, alias)
VALUES (:id, :tenant, :gateway_id, '', 0, :alias)
ON CONFLICT (id) DO UPDATE
SET tenant = excluded.tenant, gateway_id = excluded.gateway_id, alias = excluded.alias;

-- name: remove_device
DELETE FROM device WHERE id = :id;
