-- Removing what is old, in steps, along the order of acceptance. That is almost the order of age,
-- so the walk needs no index of its own: an index on updated_at would cost each change of each
-- command more than the walk costs in all.

-- name: next_in_order
-- What is not old, but was accepted long ago or in the future (an open job, a clock that was
-- wrong), does not end the walk: only commands that are young end it.
SELECT seq, revision,
    status NOT IN ('ACCEPTED', 'DELIVERED') AND max(accepted_at, updated_at) < :cutoff AS is_old,
    accepted_at BETWEEN :cutoff AND :now AS is_young
FROM command
WHERE seq > :after
ORDER BY seq
LIMIT :limit;

-- name: events_of
-- The oldest of a command.
SELECT seq FROM command_event WHERE command_seq = :command ORDER BY revision LIMIT :limit;

-- name: newest_event_of
SELECT coalesce(max(seq), 0) FROM command_event
WHERE command_seq IN (SELECT value FROM json_each(:commands));

-- name: raise_horizon
-- A fleet watch from before the newest event that goes has missed something.
UPDATE event_horizon SET removed_seq = max(removed_seq, :removed);

-- name: remove_some_events
DELETE FROM command_event WHERE seq IN (SELECT value FROM json_each(:events));

-- name: remove_events
DELETE FROM command_event WHERE command_seq IN (SELECT value FROM json_each(:commands));

-- name: remove_commands
DELETE FROM command WHERE seq IN (SELECT value FROM json_each(:commands));

-- name: horizon
SELECT removed_seq FROM event_horizon;
