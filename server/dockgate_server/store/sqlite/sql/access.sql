-- name: insert_credential
-- No row back: the client certificate is another's.
INSERT INTO credential (
    api_id, tenant, label, scopes, sealed_secret, created_at, disabled_at, devices,
    client_certificate, secret_at, older_secret, older_secret_at
) VALUES (
    :api_id, :tenant, :label, :scopes, :sealed_secret, :created_at, :disabled_at, :devices,
    :client_certificate, :secret_at, :older_secret, :older_secret_at
)
ON CONFLICT (client_certificate) WHERE client_certificate IS NOT NULL AND disabled_at IS NULL
DO NOTHING
RETURNING api_id;

-- name: rotate_credential
UPDATE credential
SET older_secret = sealed_secret, older_secret_at = secret_at,
    sealed_secret = :sealed_secret, secret_at = :at
WHERE api_id = :api_id AND older_secret IS NULL AND disabled_at IS NULL
RETURNING api_id;

-- name: end_older_secret
UPDATE credential SET older_secret = NULL, older_secret_at = NULL
WHERE api_id = :api_id AND older_secret IS NOT NULL AND disabled_at IS NULL
RETURNING api_id;

-- name: end_newer_secret
UPDATE credential
SET sealed_secret = older_secret, secret_at = older_secret_at,
    older_secret = NULL, older_secret_at = NULL
WHERE api_id = :api_id AND older_secret IS NOT NULL AND disabled_at IS NULL
RETURNING api_id;

-- name: disable_credential
UPDATE credential SET disabled_at = :at WHERE api_id = :api_id AND disabled_at IS NULL
RETURNING api_id;

-- name: get_credential
SELECT api_id, tenant, label, scopes, sealed_secret, created_at, disabled_at, devices,
    client_certificate, secret_at, older_secret, older_secret_at
FROM credential WHERE api_id = :api_id;

-- name: get_credential_of_certificate
SELECT api_id, tenant, label, scopes, sealed_secret, created_at, disabled_at, devices,
    client_certificate, secret_at, older_secret, older_secret_at
FROM credential WHERE client_certificate = :name AND disabled_at IS NULL;

-- name: list_credentials
SELECT api_id, tenant, label, scopes, sealed_secret, created_at, disabled_at, devices,
    client_certificate, secret_at, older_secret, older_secret_at
FROM credential ORDER BY created_at, api_id;

-- name: usable_credentials
SELECT api_id, client_certificate FROM credential WHERE disabled_at IS NULL;

-- name: use_nonce
-- No row back: the nonce was used before.
INSERT INTO nonce (api_id, nonce, expires_at) VALUES (:api_id, :nonce, :expires_at)
ON CONFLICT (api_id, nonce) DO NOTHING
RETURNING api_id, nonce;

-- name: forget_nonces
DELETE FROM nonce WHERE expires_at < :now;
