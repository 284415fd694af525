-- name: schema
CREATE TABLE campaign (
    name TEXT NOT NULL CHECK (typeof(name) = 'text'),
    -- Set in the main file while the journal is open: then its newest entries are in the log.
    open INTEGER NOT NULL DEFAULT 0 CHECK (open IN (0, 1))
);
CREATE TABLE send (
    key TEXT PRIMARY KEY CHECK (typeof(key) = 'text'),
    status TEXT NOT NULL
        CHECK (status IN ('pending', 'sent', 'rejected', 'invalid', 'suppressed', 'failed', 'in_doubt')),
    message TEXT NOT NULL CHECK (typeof(message) = 'text'),
    errors TEXT CHECK (errors IS NULL OR json_type(errors) = 'array'),
    mid TEXT CHECK (typeof(mid) IN ('text', 'null')),
    http_status INTEGER CHECK (http_status IS NULL OR (typeof(http_status) = 'integer' AND http_status BETWEEN 0 AND 32767)),
    attempts INTEGER NOT NULL CHECK (typeof(attempts) = 'integer' AND attempts BETWEEN 0 AND 32767),
    time REAL CHECK (time IS NULL OR (typeof(time) = 'real' AND time BETWEEN 0 AND 9e9)),
    seconds REAL CHECK (seconds IS NULL OR (typeof(seconds) = 'real' AND seconds BETWEEN 0 AND 9e9)),
    digest TEXT CHECK (typeof(digest) IN ('text', 'null')),
    -- A digest of whom it went to, which stays the same where key and content change.
    recipients TEXT CHECK (typeof(recipients) IN ('text', 'null')),
    -- A POST before the last one is in doubt: only `sent`, or a person, can end that.
    doubted INTEGER NOT NULL DEFAULT 0 CHECK (doubted IN (0, 1))
) WITHOUT ROWID;
CREATE TABLE post (
    id INTEGER PRIMARY KEY,
    time REAL NOT NULL CHECK (typeof(time) = 'real' AND time BETWEEN 0 AND 9e9),
    key TEXT NOT NULL,
    -- When a run first found `time` in the future.
    seen REAL CHECK (seen IS NULL OR (typeof(seen) = 'real' AND seen BETWEEN 0 AND 9e9))
);

-- name: insert_campaign
INSERT INTO campaign (name) VALUES (?);

-- name: select_campaign
SELECT name FROM campaign;

-- name: set_open
UPDATE campaign SET open = ?;

-- name: select_state
SELECT (SELECT coalesce(max(id), 0) FROM post), open FROM campaign;

-- name: claim
-- Only what was surely not accepted may be claimed; a row in doubt only when the user says so.
INSERT INTO send (key, status, message, attempts, time, digest, recipients)
VALUES (:key, 'in_doubt', 'a POST began and no answer has come', 1, :time, :digest, :recipients)
ON CONFLICT (key) DO UPDATE SET
    status = 'in_doubt', message = excluded.message, errors = NULL, mid = NULL, http_status = NULL,
    attempts = min(attempts + 1, 32767), time = excluded.time, seconds = NULL, digest = excluded.digest,
    recipients = excluded.recipients, doubted = (status = 'in_doubt')
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
SELECT key, status, message, errors, mid, http_status, attempts, time, seconds, digest, recipients
FROM send WHERE key IN (SELECT value FROM json_each(?));

-- name: entries
SELECT key, status, message, errors, mid, http_status, attempts, time, seconds, digest, recipients
FROM send WHERE status = ? AND key > ? ORDER BY key LIMIT 1000;

-- name: counts
SELECT status, count(*) FROM send GROUP BY status;

-- name: see_future
UPDATE post SET seen = :now WHERE time > :now AND time <= 9e9 AND (seen IS NULL OR seen > :now);

-- name: post_times
-- Read whole, once a run: a clock that was put back leaves the ids out of the times' order.
SELECT iif(time > :now AND time <= 9e9, seen, time) AS at FROM post WHERE at > :since ORDER BY at;

-- name: post_spans
SELECT key, min(time), max(time) FROM post WHERE key IN (SELECT value FROM json_each(?)) GROUP BY key;

-- name: unaccounted
-- A retry of what surely wasn't accepted is among them: the journal doesn't keep why an earlier POST failed.
SELECT key, status, message, errors, mid, http_status, attempts, time, seconds, digest, recipients
FROM send WHERE key IN (SELECT key FROM post WHERE time BETWEEN :since AND :until) AND status <> 'in_doubt' AND (
    attempts > 1 OR (status = 'pending' AND attempts > 0) OR (status = 'sent' AND mid IS NULL AND message <> 'OK')
);

-- name: known_mids
SELECT mid FROM send WHERE mid IN (SELECT value FROM json_each(?));

-- name: settle
UPDATE send SET status = :status, message = :message, time = :time
WHERE key = :key AND (status = 'in_doubt' OR (status = 'rejected' AND :status = 'pending'));

-- name: settle_all
UPDATE send SET status = :status, message = :message, time = :time
WHERE status = 'in_doubt';
