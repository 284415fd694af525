-- One rate for all processes that send a campaign: slots in time and counts of permits, by this server's clock.
-- Times and spans are nanoseconds, whole numbers, as a ceiling has no room for rounding.

-- Whoever sends says at which rate; '' is none. Empty for who only settles.
ALTER TABLE turbobatch_worker ADD COLUMN rate text;

CREATE TABLE turbobatch_rate (
    campaign integer PRIMARY KEY REFERENCES turbobatch_campaign (id),
    rate text,
    -- The next free slot.
    due bigint NOT NULL DEFAULT 0,
    -- How long after its slot a permit may be spent: what the slowest connection of late needs, and when it said so.
    spread bigint NOT NULL DEFAULT 0,
    spread_at bigint NOT NULL DEFAULT 0
);

-- Permits of limits over more than a minute, counted in buckets of a 96th of the period.
CREATE TABLE turbobatch_quota (
    campaign integer NOT NULL,
    period bigint NOT NULL,
    bucket bigint NOT NULL,
    count bigint NOT NULL,
    PRIMARY KEY (campaign, period, bucket)
);

CREATE FUNCTION turbobatch_clock() RETURNS bigint
LANGUAGE sql VOLATILE AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint * 1000 $$;

-- The distance of two slots: that of the tightest limit over at most `paced`. Each period is longer by the time in
-- which a permit may be spent, and by the jitter of a POST after that, yet by no more than one POST's share of it.
CREATE FUNCTION turbobatch_step(counts bigint[], periods bigint[], paced bigint, jitter bigint, spread bigint)
RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(max((period + spread + least(jitter, period / count) + count - 1) / count), 0)
    FROM unnest(counts, periods) AS l (count, period) WHERE period <= paced
$$;

-- Let `me` send at this rate; where others, whose leases go on, send at another one, that one is returned and nothing
-- is changed. A new rate begins with what the journal's POSTs have used of it.
CREATE FUNCTION turbobatch_set_rate(
    of_campaign integer, me bigint, my_rate text, counts bigint[], periods bigint[], paced bigint, jitter bigint,
    my_spread bigint
) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    mine turbobatch_rate;
    clock bigint;
    step bigint := turbobatch_step(counts, periods, paced, jitter, my_spread);
    other text;
BEGIN
    INSERT INTO turbobatch_rate (campaign) VALUES (of_campaign) ON CONFLICT (campaign) DO NOTHING;
    SELECT * INTO mine FROM turbobatch_rate WHERE campaign = of_campaign FOR UPDATE;
    SELECT rate INTO other FROM turbobatch_worker
    WHERE campaign = of_campaign AND id <> me AND expires > clock_timestamp() AND rate <> my_rate LIMIT 1;
    IF FOUND THEN
        RETURN other;
    END IF;
    UPDATE turbobatch_worker SET rate = my_rate WHERE id = me;
    IF mine.rate = my_rate THEN
        RETURN NULL;
    END IF;

    clock := turbobatch_clock();
    DELETE FROM turbobatch_quota WHERE campaign = of_campaign;
    WITH post AS (
        -- A POST of a clock that was ahead counts as made when it was first found there.
        SELECT least((CASE WHEN p.time <= clock / 1e9 THEN p.time ELSE coalesce(p.seen, clock / 1e9) END
            * 1000000)::bigint * 1000, clock) AS at
        FROM turbobatch_post p
        WHERE p.campaign = of_campaign AND p.time > (clock - (SELECT max(period) FROM unnest(periods) AS period)) / 1e9
    ), counted AS (
        INSERT INTO turbobatch_quota (campaign, period, bucket, count)
        SELECT of_campaign, period, at / (period / 96), count(*)
        FROM unnest(periods) AS period JOIN post ON at > clock - period
        WHERE period > paced GROUP BY 1, 2, 3
    )
    -- Each POST used the slot after the one before it; the n-th last leaves room for itself and those after it.
    UPDATE turbobatch_rate SET rate = my_rate, due = greatest(due, (
        SELECT max(at + n * step)
        FROM (SELECT at, row_number() OVER (ORDER BY at DESC) AS n FROM post WHERE at > clock - paced) AS last
    )) WHERE campaign = of_campaign;
    RETURN NULL;
END
$$;

-- Reserve up to `wanted` permits: `granted` of them, `step` apart from the slot `first` on, each to be spent within
-- `spread`. None where the next slot is more than `ahead` away: there is one from `ask_at` on, as far as is known now.
-- The limit over `held_by` is what it waits for, if it is a quota. TB003: the rate is another one by now.
--
-- `batch` bounds how much of the pace goes at once. `resting`: the session before broke, and with it the server, maybe,
-- which then has forgotten what was reserved last, `lost` permits of one's own. `returned` of those that were `booked` for
-- the time `returned_from` weren't spent: they count no more.
CREATE FUNCTION turbobatch_reserve(
    of_campaign integer, my_rate text, counts bigint[], periods bigint[], paced bigint, jitter bigint,
    my_spread bigint, wanted bigint, ahead bigint, batch bigint, resting boolean, lost bigint,
    returned bigint, returned_from bigint,
    OUT clock bigint, OUT first bigint, OUT step bigint, OUT granted bigint, OUT spread bigint, OUT ask_at bigint,
    OUT held_by bigint, OUT booked bigint
)
LANGUAGE plpgsql AS $$
DECLARE
    second CONSTANT bigint := 1000000000;
    mine turbobatch_rate;
    reach bigint;
    quota record;
    used bigint;
    oldest bigint;
BEGIN
    SELECT * INTO mine FROM turbobatch_rate r WHERE r.campaign = of_campaign FOR UPDATE;
    IF mine.rate IS DISTINCT FROM my_rate THEN
        RAISE EXCEPTION USING ERRCODE = 'TB003', MESSAGE = 'another rate', DETAIL = coalesce(mine.rate, '');
    END IF;
    clock := turbobatch_clock();
    ask_at := clock;

    -- No slot lies farther ahead than that, but where this clock was put back: then all before is over by then.
    SELECT coalesce(max(l.period), 0) + 2 * greatest(mine.spread, my_spread) + second INTO reach
    FROM unnest(periods) AS l (period) WHERE l.period <= paced;
    mine.due := least(mine.due, clock + reach);
    IF my_spread >= mine.spread OR mine.spread_at NOT BETWEEN clock - 5 * second AND clock THEN
        -- A permit of before may be spent later after its slot than those from now on.
        mine.due := mine.due + greatest(mine.spread - my_spread, 0);
        mine.spread := my_spread;
        mine.spread_at := clock;
    END IF;
    spread := mine.spread;
    step := turbobatch_step(counts, periods, paced, jitter, spread);
    booked := clock + ahead + batch + spread + jitter; -- all that is granted will have been posted by then

    first := greatest(mine.due, clock);
    IF resting THEN
        first := greatest(first, clock + greatest(second, step + booked - clock));
    END IF;
    granted := least(wanted, greatest(coalesce(batch / nullif(step, 0), wanted), 1));
    IF first > clock + ahead THEN
        granted := 0;
        ask_at := first - ahead;
    END IF;

    FOR quota IN
        SELECT l.count, l.period, l.period / 96 AS width FROM unnest(counts, periods) AS l (count, period)
        WHERE l.period > paced
    LOOP
        UPDATE turbobatch_quota q SET count = greatest(q.count - returned, 0)
        WHERE returned > 0 AND q.campaign = of_campaign AND q.period = quota.period
            AND q.bucket = returned_from / quota.width;
        -- Every bucket that a window from now on touches counts whole.
        SELECT coalesce(sum(q.count), 0) + lost, min(q.bucket) INTO used, oldest FROM turbobatch_quota q
        WHERE q.campaign = of_campaign AND q.period = quota.period AND q.count > 0
            AND q.bucket >= (clock - quota.period) / quota.width;
        granted := greatest(least(granted, quota.count - used), 0);
        IF used >= quota.count AND (oldest + 1) * quota.width + quota.period > ask_at THEN
            ask_at := (oldest + 1) * quota.width + quota.period;
            held_by := quota.period;
        END IF;
    END LOOP;

    IF granted + lost > 0 AND paced < ANY (periods) THEN
        INSERT INTO turbobatch_quota AS q (campaign, period, bucket, count)
        SELECT of_campaign, l.period, booked / (l.period / 96), granted + lost FROM unnest(periods) AS l (period)
        WHERE l.period > paced
        ON CONFLICT (campaign, period, bucket) DO UPDATE SET count = q.count + excluded.count;
        DELETE FROM turbobatch_quota q USING unnest(periods) AS l (period)
        WHERE q.campaign = of_campaign AND q.period = l.period
            AND q.bucket < (clock - l.period) / greatest(l.period / 96, 1);
    END IF;
    UPDATE turbobatch_rate r
    SET due = CASE WHEN granted > 0 OR resting THEN first + granted * step ELSE mine.due END,
        spread = mine.spread, spread_at = mine.spread_at
    WHERE r.campaign = of_campaign;
END
$$;

-- What tells this database from another one of the same URL, as another machine may find it.
CREATE TABLE turbobatch_mark (mark uuid NOT NULL DEFAULT gen_random_uuid());
INSERT INTO turbobatch_mark DEFAULT VALUES;
