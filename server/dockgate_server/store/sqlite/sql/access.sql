-- name: insert_credential
INSERT INTO credential (api_id, tenant, label, scopes, sealed_secret, created_at)
VALUES (:api_id, :tenant, :label, :scopes, :sealed_secret, :created_at);

-- name: disable_credential
UPDATE credential SET disabled_at = :at WHERE api_id = :api_id AND disabled_at IS NULL
RETURNING api_id;

-- name: get_credential
SELECT api_id, tenant, label, scopes, sealed_secret, created_at, disabled_at FROM credential
WHERE api_id = :api_id;

-- name: list_credentials
SELECT api_id, tenant, label, scopes, sealed_secret, created_at, disabled_at FROM credential
ORDER BY created_at, api_id;

-- name: use_nonce
-- No row back: the nonce was used before.
INSERT INTO nonce (api_id, nonce, expires_at) VALUES (:api_id, :nonce, :expires_at)
ON CONFLICT (api_id, nonce) DO NOTHING
RETURNING nonce;

-- name: forget_nonces
DELETE FROM nonce WHERE expires_at < :now;
