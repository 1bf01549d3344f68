-- name: bindings
SELECT id, organization_id, callsign, model FROM device
WHERE organization_id IS NOT NULL AND id IN (SELECT value FROM json_each(:ids));

-- name: bind
-- The topology says later by which gateway device it is reached, and of what model it is.
INSERT INTO device (id, tenant, gateway_id, model, seen_at, organization_id, callsign, listed)
VALUES (:device_id, coalesce((SELECT tenant FROM device WHERE id = :gateway_id), 'default'),
    :gateway_id, :model, :at, :organization_id, :callsign, :device_id = :gateway_id)
ON CONFLICT (id) DO UPDATE
SET organization_id = excluded.organization_id, callsign = excluded.callsign
WHERE tenant = excluded.tenant
RETURNING id;

-- name: newest_of_flight
-- As find_job has it: of those that were sent, and one that failed only where there is no other.
SELECT * FROM command
WHERE gateway_id = :gateway_id AND job_key = :flight_id AND command_type = :command_type
    AND sending_at IS NOT NULL
    AND tenant = coalesce((SELECT tenant FROM device WHERE id = :asking_id), 'default')
ORDER BY status = 'FAILED', seq DESC
LIMIT 1;

-- name: newest_of_gateway
-- The same of all flights, which all have a key: those of the gateway device are in the index
-- command_job. The plus keeps SQLite from walking all of the tenant's commands instead.
SELECT * FROM command
WHERE gateway_id = :gateway_id AND job_key IS NOT NULL AND command_type = :command_type
    AND sending_at IS NOT NULL
    AND +tenant = coalesce((SELECT tenant FROM device WHERE id = :asking_id), 'default')
ORDER BY status = 'FAILED', seq DESC
LIMIT 1;
