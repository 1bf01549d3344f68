-- Credentials: two live secrets, device limits, client certificates.

-- Which devices it may reach: names, or beginnings that end in *, separated by spaces; none for all
-- of its tenant.
ALTER TABLE credential ADD COLUMN devices TEXT NOT NULL DEFAULT '';
-- The name in a client certificate that stands for the secret.
ALTER TABLE credential ADD COLUMN client_certificate TEXT;
-- When `sealed_secret` was made.
ALTER TABLE credential ADD COLUMN secret_at INTEGER NOT NULL DEFAULT 0;
-- While keys are rotated: the secret before `sealed_secret`, which is good as well.
ALTER TABLE credential ADD COLUMN older_secret BLOB;
ALTER TABLE credential ADD COLUMN older_secret_at INTEGER;

UPDATE credential SET secret_at = created_at;

-- One name, one credential. The name of a disabled one can be given to another.
CREATE UNIQUE INDEX credential_certificate ON credential (client_certificate)
WHERE client_certificate IS NOT NULL AND disabled_at IS NULL;

-- For lists, of one device as before, and for callers that may reach some devices only: where
-- their tenant's commands went. In the place of the other one: each costs every submission.
CREATE INDEX command_target ON command (tenant, device_id, gateway_id);
DROP INDEX command_device;
