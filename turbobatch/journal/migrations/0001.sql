-- The tables of the journal in PostgreSQL, and the one function that commits. `turbobatch_schema` tells the version.
CREATE TABLE turbobatch_campaign (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);

-- Whoever writes has a row here while it does: a lease, by this server's clock.
CREATE TABLE turbobatch_worker (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign integer NOT NULL REFERENCES turbobatch_campaign (id),
    -- A lease that ended is never renewed: with nothing in flight a new epoch begins.
    epoch integer NOT NULL DEFAULT 1,
    expires timestamptz NOT NULL,
    -- The number of the last commit: one whose answer was lost is asked for again, and not done twice.
    number bigint NOT NULL DEFAULT 0,
    host text NOT NULL,
    process integer NOT NULL
);

CREATE TABLE turbobatch_send (
    campaign integer NOT NULL,
    key text COLLATE "C" NOT NULL,
    status text NOT NULL
        CHECK (status IN ('pending', 'sent', 'rejected', 'invalid', 'suppressed', 'failed', 'in_doubt')),
    message text NOT NULL,
    errors text,
    mid text,
    http_status integer CHECK (http_status BETWEEN 0 AND 32767),
    attempts integer NOT NULL CHECK (attempts BETWEEN 0 AND 32767),
    time double precision CHECK (time BETWEEN 0 AND 9e9),
    seconds double precision CHECK (seconds BETWEEN 0 AND 9e9),
    digest text,
    recipients text,
    -- A POST before the last one is in doubt: only `sent`, or a person, can end that.
    doubted boolean NOT NULL DEFAULT false,
    -- Who claimed it last; the epoch only until that POST's answer is here.
    worker bigint,
    epoch integer,
    PRIMARY KEY (campaign, key)
);

CREATE TABLE turbobatch_post (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    campaign integer NOT NULL,
    time double precision NOT NULL CHECK (time BETWEEN 0 AND 9e9),
    key text COLLATE "C" NOT NULL,
    -- When a run first found `time` in the future.
    seen double precision CHECK (seen BETWEEN 0 AND 9e9)
);
CREATE INDEX turbobatch_post_time ON turbobatch_post (campaign, time);

-- Whether somebody else, whose lease goes on, waits for the answer to this claim.
CREATE FUNCTION turbobatch_elsewhere(claimer bigint, claimed_in integer, me bigint) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM turbobatch_worker
        WHERE id = claimer AND epoch = claimed_in AND expires > now() AND id IS DISTINCT FROM me
    )
$$;

-- All of a commit in one call, so that no pause of the one who asks can come between its parts.
-- Returns the keys that weren't claimed since another has them. TB001: the lease has ended; TB002: a contradiction.
CREATE FUNCTION turbobatch_commit(
    me bigint, my_epoch integer, my_number bigint, lease double precision, intents json, outcomes json, notes json
) RETURNS SETOF text
LANGUAGE plpgsql
-- Always by the key: before the tables have been analysed, the planner would rather read them whole.
SET enable_seqscan = off
SET enable_bitmapscan = off
AS $$
DECLARE
    mine turbobatch_worker;
    keys text[];
    taken text[];
    wrong text[];
BEGIN
    IF current_setting('synchronous_commit') NOT IN ('on', 'remote_apply') THEN
        PERFORM set_config('synchronous_commit', 'on', true);
    END IF;
    SELECT * INTO mine FROM turbobatch_worker
    WHERE id = me AND epoch = my_epoch AND expires > clock_timestamp() FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'TB001', MESSAGE = 'the lease has ended';
    END IF;

    IF mine.number < my_number THEN
        UPDATE turbobatch_worker
        SET number = my_number, expires = clock_timestamp() + make_interval(secs => lease) WHERE id = me;

        IF outcomes IS NOT NULL THEN
            SELECT array_agg(o.key) INTO keys FROM json_to_recordset(outcomes) AS o (key text);
            -- Locked before it is judged: a statement sees no claimer that came after its beginning.
            PERFORM FROM turbobatch_send
            WHERE campaign = mine.campaign AND worker IS DISTINCT FROM me
                AND key = ANY (keys)
            ORDER BY key FOR UPDATE;
            WITH o AS (
                SELECT * FROM json_to_recordset(outcomes) AS o (key text, status text, message text, errors text,
                    mid text, http_status integer, time double precision, seconds double precision)
            ), concluded AS (
                UPDATE turbobatch_send s
                SET status = o.status, message = o.message, errors = o.errors, mid = o.mid,
                    http_status = o.http_status, time = o.time, seconds = o.seconds, epoch = NULL
                FROM o
                WHERE s.campaign = mine.campaign AND s.key = ANY (keys) AND s.key = o.key AND (
                    (
                        s.status = 'in_doubt' AND (NOT s.doubted OR o.status IN ('sent', 'in_doubt'))
                        AND (
                            s.epoch IS NULL OR (s.worker = me AND s.epoch = my_epoch)
                            OR (s.worker <> me AND NOT turbobatch_elsewhere(s.worker, s.epoch, me))
                        )
                    )
                    -- The same once more, after a commit whose answer was lost.
                    OR (s.worker = me AND s.epoch IS NULL AND s.status = o.status AND s.time = o.time)
                )
                RETURNING s.key
            )
            SELECT array_agg(o.key) INTO wrong FROM o WHERE o.key NOT IN (SELECT c.key FROM concluded c);
            IF wrong IS NOT NULL THEN
                RAISE EXCEPTION USING ERRCODE = 'TB002', MESSAGE = 'conclude', DETAIL = to_json(wrong)::text;
            END IF;
        END IF;

        IF notes IS NOT NULL THEN
            -- A row that needs no POST; what was ever accepted, or may have been, stays as it is.
            INSERT INTO turbobatch_send AS s (campaign, key, status, message, errors, attempts, time)
            SELECT mine.campaign, n.key, n.status, n.message, n.errors, 0, n.time
            FROM json_to_recordset(notes) AS n (key text, status text, message text, errors text,
                time double precision)
            ORDER BY n.key COLLATE "C"
            ON CONFLICT (campaign, key) DO UPDATE SET
                status = excluded.status, message = excluded.message, errors = excluded.errors, mid = NULL,
                http_status = NULL, time = excluded.time, seconds = NULL
            WHERE s.status IN ('pending', 'rejected', 'invalid', 'suppressed', 'failed');
        END IF;

        IF intents IS NOT NULL THEN
            SELECT array_agg(i.key) INTO keys
            FROM json_to_recordset(intents) AS i (key text, resend boolean) WHERE i.resend;
            PERFORM FROM turbobatch_send
            WHERE campaign = mine.campaign AND worker IS DISTINCT FROM me AND key = ANY (keys)
            ORDER BY key FOR UPDATE;
            WITH i AS (
                SELECT * FROM json_to_recordset(intents) AS i (key text, digest text, time double precision,
                    resend boolean, recipients text)
            ), claimed AS (
                -- Only what was surely not accepted may be claimed; a row in doubt only when the user says so
                -- (`excluded.doubted`) and nobody waits for its answer.
                INSERT INTO turbobatch_send AS s
                    (campaign, key, status, message, attempts, time, digest, recipients, doubted, worker, epoch)
                SELECT mine.campaign, i.key, 'in_doubt', 'a POST began and no answer has come', 1, i.time, i.digest,
                    i.recipients, i.resend, me, my_epoch
                FROM i ORDER BY i.key COLLATE "C"
                ON CONFLICT (campaign, key) DO UPDATE SET
                    status = 'in_doubt', message = excluded.message, errors = NULL, mid = NULL, http_status = NULL,
                    attempts = least(s.attempts + 1, 32767), time = excluded.time, seconds = NULL,
                    digest = excluded.digest, recipients = excluded.recipients, doubted = (s.status = 'in_doubt'),
                    worker = me, epoch = my_epoch
                WHERE s.status IN ('pending', 'rejected', 'invalid', 'suppressed', 'failed')
                    OR (s.status = 'in_doubt' AND excluded.doubted
                        AND NOT turbobatch_elsewhere(s.worker, s.epoch, me))
                RETURNING s.key
            ), posted AS (
                INSERT INTO turbobatch_post (campaign, time, key)
                SELECT mine.campaign, i.time, i.key FROM i JOIN claimed USING (key)
            )
            SELECT array_agg(i.key) INTO taken FROM i WHERE i.key NOT IN (SELECT c.key FROM claimed c);
            -- What this worker has claimed itself, it must not claim again.
            SELECT array_agg(key) INTO wrong FROM turbobatch_send
            WHERE campaign = mine.campaign AND key = ANY (taken) AND worker = me;
            IF wrong IS NOT NULL THEN
                RAISE EXCEPTION USING ERRCODE = 'TB002', MESSAGE = 'claim', DETAIL = to_json(wrong)::text;
            END IF;
        END IF;
    ELSIF intents IS NOT NULL THEN
        SELECT array_agg(i.key) INTO taken
        FROM json_to_recordset(intents) AS i (key text)
        LEFT JOIN turbobatch_send s
            ON s.campaign = mine.campaign AND s.key = i.key AND s.worker = me AND s.epoch = my_epoch
        WHERE s.key IS NULL;
    END IF;
    RETURN QUERY SELECT unnest(taken);
END
$$
