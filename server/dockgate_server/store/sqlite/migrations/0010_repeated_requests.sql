-- What a repetition has in common with a request: a digest of gateway, tid, bid, method and
-- data. The tid alone does not tell, as some devices give the same one to all that they ask.
ALTER TABLE device_request ADD COLUMN repeat_key BLOB;

-- A device repeats what is not answered. One that still asks when its request has expired gets a
-- new one.
DROP INDEX device_request_tid;
CREATE UNIQUE INDEX device_request_repeat ON device_request (repeat_key)
    WHERE repeat_key IS NOT NULL AND status <> 'EXPIRED';
