-- For finding the jobs again after a restart: only those that go on are in it.
CREATE INDEX command_job_open ON command (seq)
WHERE status = 'SUCCEEDED' AND job_key IS NOT NULL
    AND (job IS NULL OR json_extract(job, '$.state') IN ('SENT', 'IN_PROGRESS'));
