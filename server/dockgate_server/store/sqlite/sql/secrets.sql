-- Sealing anew, and taking out what was stored before secrets were sealed.

-- name: kept_keys
SELECT purpose, sealed FROM kept_key;

-- name: keep_key
-- The first one stays.
INSERT INTO kept_key (purpose, sealed) VALUES (:purpose, :sealed) ON CONFLICT DO NOTHING;

-- name: replace_kept_key
UPDATE kept_key SET sealed = :sealed WHERE purpose = :purpose;

-- name: sealed_credentials
SELECT api_id, sealed_secret, older_secret, disabled_at IS NULL FROM credential;

-- name: replace_secrets
UPDATE credential SET sealed_secret = :sealed, older_secret = :older WHERE api_id = :api_id;

-- name: sealed_commands
-- Only what is open is sealed, and command_open has that.
SELECT id, sealed FROM command WHERE sealed IS NOT NULL AND status IN ('ACCEPTED', 'DELIVERED');

-- name: replace_sealed
UPDATE command SET sealed = :sealed WHERE id = :id;

-- name: outgoing
SELECT id, outgoing FROM device_request WHERE outgoing IS NOT NULL;

-- name: replace_outgoing
UPDATE device_request SET outgoing = :outgoing WHERE id = :id;

-- name: cleaning_is_due
SELECT is_due, EXISTS (SELECT 1 FROM sqlite_sequence) FROM cleaning;

-- name: cleaning_is_done
UPDATE cleaning SET is_due = 0;

-- name: perhaps_unsealed
-- Methods whose messages have no field that is marked need no look.
SELECT id, command_type, data, content_hash,
    status IN ('ACCEPTED', 'DELIVERED') AS is_open
FROM command
WHERE sealed IS NULL AND command_type NOT IN (SELECT value FROM json_each(:harmless));

-- name: take_secrets_out
UPDATE command SET data = :data, sealed = :sealed, content_hash = :content_hash WHERE id = :id;

-- name: clean_responses
UPDATE command SET vendor_response = without_secrets(vendor_response)
WHERE has_secrets(vendor_response);

-- name: clean_states
UPDATE command_event SET state = without_secrets(state) WHERE has_secrets(state);

-- name: clean_replies
UPDATE command_event SET reply = without_secrets(reply) WHERE has_secrets(reply);

-- name: clean_ledger
UPDATE unmatched_response SET data = without_secrets(data) WHERE has_secrets(data);

-- name: clean_events
UPDATE device_event SET data = without_secrets(data) WHERE has_secrets(data);
