-- name: advisory_lock
SELECT pg_advisory_xact_lock(hashtextextended('turbobatch journal ' || current_schema(), 0));

-- name: forgetful_settings
SELECT name FROM pg_settings WHERE name IN ('fsync', 'full_page_writes') AND setting = 'off' ORDER BY name;

-- name: schema_exists
SELECT to_regclass('turbobatch_schema') IS NOT NULL;

-- name: select_version
SELECT max(version) FROM turbobatch_schema;

-- name: make_version
CREATE TABLE IF NOT EXISTS turbobatch_schema (version integer NOT NULL);

-- name: insert_version
INSERT INTO turbobatch_schema (version) VALUES (%(version)s);

-- name: select_mark
SELECT mark::text FROM turbobatch_mark;

-- name: select_campaign
SELECT id FROM turbobatch_campaign WHERE name = %(name)s;

-- name: insert_campaign
INSERT INTO turbobatch_campaign (name) VALUES (%(name)s) ON CONFLICT (name) DO NOTHING;

-- name: insert_worker
INSERT INTO turbobatch_worker (campaign, expires, host, process)
VALUES (%(campaign)s, clock_timestamp() + make_interval(secs => %(lease)s), %(host)s, %(process)s)
RETURNING id;

-- name: forget_workers
-- Of those that were killed long ago; what they claimed is in doubt with or without them.
DELETE FROM turbobatch_worker WHERE campaign = %(campaign)s AND expires < clock_timestamp() - interval '1 day';

-- name: delete_worker
DELETE FROM turbobatch_worker WHERE id = %(me)s;

-- name: renew
UPDATE turbobatch_worker SET expires = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id = %(me)s AND epoch = %(epoch)s AND expires > clock_timestamp();

-- name: begin_epoch
-- Not beside others at a rate that was agreed on meanwhile. Its row is locked: nobody agrees on one at the same time.
WITH agreed AS MATERIALIZED (
    SELECT rate FROM turbobatch_rate WHERE campaign = %(campaign)s FOR UPDATE
)
UPDATE turbobatch_worker SET epoch = epoch + 1, expires = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE id = %(me)s AND epoch = %(epoch)s AND (rate IS NULL OR rate = (SELECT agreed.rate FROM agreed))
RETURNING epoch;

-- name: others
SELECT EXISTS (
    SELECT FROM turbobatch_worker
    WHERE campaign = %(campaign)s AND expires > now() AND id IS DISTINCT FROM %(me)s::bigint
);

-- name: commit
SELECT turbobatch_commit(%(me)s::bigint, %(epoch)s::integer, %(number)s::bigint, %(lease)s::double precision,
    %(intents)s::json, %(outcomes)s::json, %(notes)s::json);

-- name: lookup
SELECT s.key, s.status, CASE WHEN w.id IS NULL THEN s.message ELSE 'in flight in another process' END, s.errors, s.mid,
    s.http_status, s.attempts, s.time, s.seconds, s.digest, s.recipients, w.id IS NOT NULL
FROM turbobatch_send s LEFT JOIN turbobatch_worker w
    ON w.id = s.worker AND w.epoch = s.epoch AND w.expires > now() AND w.id IS DISTINCT FROM %(me)s::bigint
WHERE s.campaign = %(campaign)s AND s.key = ANY (%(keys)s::text[]);

-- name: entries
SELECT s.key, s.status, CASE WHEN w.id IS NULL THEN s.message ELSE 'in flight in another process' END, s.errors, s.mid,
    s.http_status, s.attempts, s.time, s.seconds, s.digest, s.recipients, w.id IS NOT NULL
FROM turbobatch_send s LEFT JOIN turbobatch_worker w
    ON w.id = s.worker AND w.epoch = s.epoch AND w.expires > now() AND w.id IS DISTINCT FROM %(me)s::bigint
WHERE s.campaign = %(campaign)s AND s.status = %(status)s AND s.key > %(last)s ORDER BY s.key LIMIT 1000;

-- name: counts
SELECT status, count(*) FROM turbobatch_send WHERE campaign = %(campaign)s GROUP BY status;

-- name: see_future
UPDATE turbobatch_post SET seen = %(now)s
WHERE campaign = %(campaign)s AND time > %(now)s AND (seen IS NULL OR seen > %(now)s);

-- name: post_times
SELECT at FROM (
    SELECT CASE WHEN time > %(now)s THEN seen ELSE time END AS at
    FROM turbobatch_post WHERE campaign = %(campaign)s AND time > %(since)s
) AS post WHERE at > %(since)s ORDER BY at;

-- name: post_spans
SELECT key, min(time), max(time) FROM turbobatch_post
WHERE campaign = %(campaign)s AND key = ANY (%(keys)s::text[]) GROUP BY key;

-- name: unaccounted
SELECT s.key, s.status, s.message, s.errors, s.mid, s.http_status, s.attempts, s.time, s.seconds, s.digest,
    s.recipients, w.id IS NOT NULL
FROM turbobatch_send s LEFT JOIN turbobatch_worker w
    ON w.id = s.worker AND w.epoch = s.epoch AND w.expires > now() AND w.id IS DISTINCT FROM %(me)s::bigint
WHERE s.campaign = %(campaign)s AND s.key IN (
    SELECT key FROM turbobatch_post WHERE campaign = %(campaign)s AND time BETWEEN %(since)s AND %(until)s
) AND (
    (s.status <> 'in_doubt' AND s.attempts > 1) OR (s.status = 'pending' AND s.attempts > 0)
    OR (s.status = 'sent' AND s.mid IS NULL AND s.message <> 'OK') OR (s.status = 'in_doubt' AND w.id IS NOT NULL)
);

-- name: known_mids
SELECT mid FROM turbobatch_send WHERE campaign = %(campaign)s AND mid = ANY (%(mids)s::text[]);

-- name: lock_doubts
SELECT FROM turbobatch_send
WHERE campaign = %(campaign)s AND status = 'in_doubt' AND (%(keys)s::text[] IS NULL OR key = ANY (%(keys)s::text[]))
ORDER BY key FOR UPDATE;

-- name: settle
UPDATE turbobatch_send SET status = %(status)s, message = %(message)s, time = %(time)s, worker = NULL, epoch = NULL
WHERE campaign = %(campaign)s AND (
    (
        status = 'in_doubt' AND (%(keys)s::text[] IS NULL OR key = ANY (%(keys)s::text[]))
        AND NOT turbobatch_elsewhere(worker, epoch, %(me)s::bigint)
    )
    OR (status = 'rejected' AND %(status)s::text = 'pending' AND key = ANY (%(keys)s::text[]))
);

-- name: set_rate
SELECT turbobatch_set_rate(%(campaign)s::integer, %(me)s::bigint, %(rate)s::text, %(counts)s::bigint[],
    %(periods)s::bigint[], %(paced)s::bigint, %(jitter)s::bigint, %(spread)s::bigint);

-- name: reserve
SELECT * FROM turbobatch_reserve(%(campaign)s::integer, %(rate)s::text, %(counts)s::bigint[], %(periods)s::bigint[],
    %(paced)s::bigint, %(jitter)s::bigint, %(spread)s::bigint, %(wanted)s::bigint, %(ahead)s::bigint, %(batch)s::bigint,
    %(resting)s::boolean, %(lost)s::bigint, %(returned)s::bigint, %(returned_from)s::bigint);
