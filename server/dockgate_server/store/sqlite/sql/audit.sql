-- name: newest
SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1;

-- name: anchor
SELECT seq, mac, seal, restored_from FROM audit_anchor;

-- name: append
INSERT INTO audit (
    seq, at, action, outcome, tenant, principal, is_proven, transport, peer, request_id, reason,
    target, device_id, method, dangerous, digest, calls, mac
) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: read_key
SELECT sealed FROM kept_key WHERE purpose = :purpose;

-- name: keep_key
INSERT INTO kept_key (purpose, sealed) VALUES (:purpose, :sealed);

-- name: next_in_order
-- What is of the future, by a clock that was wrong, does not end the walk.
SELECT seq, at < :cutoff AS is_old, at BETWEEN :cutoff AND :now AS is_young
FROM audit
WHERE seq > :after
ORDER BY seq
LIMIT :limit;

-- name: last_to_remove
-- The last of so many from the old end on, none of them behind the given one.
SELECT seq, mac FROM (
    SELECT seq, mac FROM audit WHERE seq <= :up_to ORDER BY seq LIMIT :limit)
ORDER BY seq DESC
LIMIT 1;

-- name: set_anchor
UPDATE audit_anchor SET seq = :seq, mac = :mac, seal = :seal;

-- name: remove_up_to
DELETE FROM audit WHERE seq <= :seq;

-- name: forget_restoration
UPDATE audit_anchor SET restored_from = NULL;

-- name: behind
SELECT * FROM audit WHERE seq > :after ORDER BY seq LIMIT :limit;

-- name: before_anchor
SELECT min(seq) FROM audit WHERE seq <= (SELECT seq FROM audit_anchor);

-- name: list
-- The newest first; what is looked for is looked for along the way, as an index would cost each
-- submission more than a search costs.
SELECT * FROM audit
WHERE at >= :since
    AND (:principal = '' OR principal = :principal)
    AND (:device_id = '' OR device_id = :device_id)
    AND (:action = '' OR action = :action)
    AND (:reason = '' OR reason = :reason)
    AND (:outcome = '' OR outcome = :outcome)
    AND (NOT :dangerous OR dangerous)
ORDER BY seq DESC
LIMIT :limit;

-- name: guards
-- The triggers on the log, whoever made them, and however they wrote the table's name.
SELECT name, sql FROM sqlite_schema
WHERE type = 'trigger' AND lower(tbl_name) IN ('audit', 'audit_anchor');
