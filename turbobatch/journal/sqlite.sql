-- name: schema
CREATE TABLE campaign (
    name TEXT NOT NULL
);
CREATE TABLE send (
    key TEXT PRIMARY KEY,
    status TEXT NOT NULL,
    message TEXT NOT NULL,
    errors TEXT,
    mid TEXT,
    http_status INTEGER,
    attempts INTEGER NOT NULL,
    time REAL,
    seconds REAL,
    digest TEXT,
    -- A POST before the last one is in doubt: only `sent`, or a person, can end that.
    doubted INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE post (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL,
    key TEXT NOT NULL
);

-- name: insert_campaign
INSERT INTO campaign (name) VALUES (?);

-- name: select_campaign
SELECT name FROM campaign;

-- name: claim
-- Only what was surely not accepted may be claimed; a row in doubt only when the user says so.
INSERT INTO send (key, status, message, attempts, time, digest)
VALUES (:key, 'in_doubt', 'a POST began and no answer has come', 1, :time, :digest)
ON CONFLICT (key) DO UPDATE SET
    status = 'in_doubt', message = excluded.message, errors = NULL, mid = NULL, http_status = NULL,
    attempts = attempts + 1, time = excluded.time, seconds = NULL, digest = excluded.digest,
    doubted = (status = 'in_doubt')
WHERE status IN ('pending', 'rejected', 'invalid', 'suppressed', 'failed')
    OR (status = 'in_doubt' AND :resend);

-- name: insert_post
INSERT INTO post (time, key) VALUES (:time, :key);

-- name: conclude
-- The verdict of a POST whose intent was committed before. It says nothing of an earlier one that is in doubt.
UPDATE send SET
    status = :status, message = :message, errors = :errors, mid = :mid, http_status = :http_status,
    time = :time, seconds = :seconds
WHERE key = :key AND status = 'in_doubt' AND (NOT doubted OR :status IN ('sent', 'in_doubt'));

-- name: note
-- A row that needs no POST; what was ever accepted, or may have been, stays as it is.
INSERT INTO send (key, status, message, errors, attempts, time)
VALUES (:key, :status, :message, :errors, 0, :time)
ON CONFLICT (key) DO UPDATE SET
    status = excluded.status, message = excluded.message, errors = excluded.errors, mid = NULL,
    http_status = NULL, time = excluded.time, seconds = NULL
WHERE status IN ('pending', 'rejected', 'invalid', 'suppressed', 'failed');

-- name: lookup
SELECT key, status, message, errors, mid, http_status, attempts, time, seconds, digest
FROM send WHERE key IN (SELECT value FROM json_each(?));

-- name: entries
SELECT key, status, message, errors, mid, http_status, attempts, time, seconds, digest
FROM send WHERE status = ? AND key > ? ORDER BY key LIMIT 1000;

-- name: counts
SELECT status, count(*) FROM send GROUP BY status;

-- name: post_times
-- Read whole, once a run: a clock that was put back leaves the ids out of the times' order.
SELECT time FROM post WHERE time > ? ORDER BY time;

-- name: settle
UPDATE send SET status = :status, message = :message, time = :time
WHERE key = :key AND (status = 'in_doubt' OR (status = 'rejected' AND :status = 'pending'));

-- name: settle_all
UPDATE send SET status = :status, message = :message, time = :time
WHERE status = 'in_doubt';
