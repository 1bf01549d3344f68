-- What is known of devices beside the way to them.

-- How callers name the device, where that is not its serial number.
ALTER TABLE device ADD COLUMN alias TEXT;
-- The name an operator gave it when it was bound to an organisation.
ALTER TABLE device ADD COLUMN callsign TEXT NOT NULL DEFAULT '';
-- What its gateway device is known to be; of a gateway device only.
ALTER TABLE device ADD COLUMN presence TEXT NOT NULL DEFAULT 'UNKNOWN'
    CONSTRAINT presence_is_known CHECK (presence IN ('ONLINE', 'OFFLINE', 'UNKNOWN'));
-- When it was last heard of; written now and then.
ALTER TABLE device ADD COLUMN heard_at INTEGER;
-- Whether the latest topology of its gateway device names it.
ALTER TABLE device ADD COLUMN listed INTEGER NOT NULL DEFAULT 1 CHECK (listed IN (0, 1));
-- The organisation it is bound to; null when it is not bound.
ALTER TABLE device ADD COLUMN organization_id TEXT;

CREATE UNIQUE INDEX device_alias ON device (tenant, alias) WHERE alias IS NOT NULL;
