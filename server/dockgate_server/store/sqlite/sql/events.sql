-- What devices tell by themselves. Thousands may come in a second, so values are given by place:
-- that is quicker than by name.

-- name: find_repeated
SELECT seq, answered_at FROM device_event WHERE repeat_key = ?;

-- name: insert
-- It belongs to the tenant of the device that told it.
INSERT INTO device_event
    (gateway_id, method, tid, bid, need_reply, data, received_at, repeat_key, tenant)
VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8,
    coalesce((SELECT tenant FROM device WHERE id = ?1), 'default'))
RETURNING seq, tenant;

-- name: answered
UPDATE device_event SET answered_at = :at WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: behind
SELECT seq, tenant, gateway_id, method, tid, bid, need_reply, data, received_at FROM device_event
WHERE seq > :after
ORDER BY seq
LIMIT :limit;

-- name: newest_seq
-- Also when it has been removed: its number is not used again.
SELECT seq FROM sqlite_sequence WHERE name = 'device_event';

-- name: horizon
SELECT removed_seq FROM device_event_horizon;

-- name: surplus
-- The oldest, up to a number; those are removed from the front on, so there are no gaps.
SELECT seq FROM device_event WHERE seq <= :up_to ORDER BY seq LIMIT :limit;

-- name: next_in_order
-- What came in the future, by a clock that was wrong, does not end the walk.
SELECT seq, received_at < :cutoff AS is_old, received_at BETWEEN :cutoff AND :now AS is_young
FROM device_event
WHERE seq > :after
ORDER BY seq
LIMIT :limit;

-- name: remove
DELETE FROM device_event WHERE seq IN (SELECT value FROM json_each(:seqs));

-- name: raise_horizon
UPDATE device_event_horizon SET removed_seq = max(removed_seq, :removed);
