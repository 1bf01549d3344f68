-- name: put_device
-- A drone under two gateways belongs to the latest topology. A new one is of the tenant of its
-- gateway. One of another tenant stays as it is, unless it is under this gateway already: then the
-- gateway has got another tenant, and it follows, without its name.
INSERT INTO device (id, tenant, gateway_id, model, seen_at)
VALUES (:id, coalesce((SELECT tenant FROM device WHERE id = :gateway_id), :tenant), :gateway_id,
    :model, :seen_at)
ON CONFLICT (id) DO UPDATE
SET tenant = excluded.tenant, gateway_id = excluded.gateway_id, model = excluded.model,
    seen_at = excluded.seen_at, listed = 1,
    alias = CASE WHEN tenant = excluded.tenant THEN alias END
WHERE tenant = excluded.tenant OR gateway_id = excluded.gateway_id;

-- name: unlist_sub_devices
UPDATE device SET listed = 0 WHERE gateway_id = :gateway_id AND id <> :gateway_id;

-- name: list_devices
SELECT tenant, id, gateway_id, model, alias, callsign, listed FROM device ORDER BY id;

-- name: list_whereabouts
SELECT id, presence, heard_at FROM device;

-- name: note_whereabouts
UPDATE device SET presence = :presence, heard_at = coalesce(:heard_at, heard_at) WHERE id = :id;

-- name: free_alias
-- A name belongs to the device that was registered last, also where it is its serial number.
UPDATE device SET alias = NULL
WHERE tenant = :tenant AND alias = coalesce(:alias, :id) AND id <> :id;

-- name: taken
-- A device or its gateway that is another tenant's.
SELECT id FROM device WHERE id IN (:id, :gateway_id) AND tenant <> :tenant;

-- name: claim_gateway
-- What a device is registered under is its tenant's too: or else whoever came next would get it.
INSERT INTO device (id, tenant, gateway_id, model, seen_at)
VALUES (:gateway_id, :tenant, :gateway_id, '', 0)
ON CONFLICT (id) DO NOTHING;

-- name: register_device
INSERT INTO device (id, tenant, gateway_id, model, seen_at, alias)
VALUES (:id, :tenant, :gateway_id, '', 0, :alias)
ON CONFLICT (id) DO UPDATE
SET gateway_id = excluded.gateway_id, alias = excluded.alias,
    -- A gateway device that it is new under has not named it yet.
    listed = listed AND excluded.gateway_id IN (id, gateway_id);

-- name: assign_tenant
-- What has never announced itself is under the gateway that the configuration says.
INSERT INTO device (id, tenant, gateway_id, model, seen_at)
VALUES (:id, :tenant, :gateway_id, '', 0)
ON CONFLICT (id) DO UPDATE
SET tenant = excluded.tenant,
    gateway_id = CASE WHEN seen_at = 0 THEN excluded.gateway_id ELSE gateway_id END,
    alias = CASE WHEN tenant = excluded.tenant THEN alias END;

-- name: follow_gateway
UPDATE device SET tenant = :tenant, alias = NULL
WHERE gateway_id = :id AND tenant <> :tenant;

-- name: remove_device
DELETE FROM device WHERE id = :id;
