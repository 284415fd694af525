"""Rates are ceilings in every sliding window, evenly paced, and windows know their clocks."""

from __future__ import annotations

import math
import random
from datetime import UTC, datetime, timedelta, tzinfo
from fractions import Fraction
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turbobatch.errors import CampaignError
from turbobatch.rates import CATCH_UP, PACED_PERIOD, Limit, Pacer, Window, parse_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

ROME = ZoneInfo("Europe/Rome")

periods = st.sampled_from([0.1, 0.3, 1.0, 2.0, 7.3, 60.0, 61.0, 300.0, 3600.0]) | st.floats(0.01, 5000)
limit_lists = st.lists(st.builds(Limit, st.integers(1, 12), periods), min_size=1, max_size=3)
starts = st.sampled_from([0.0, 0.1, 1_764_000_000.0, 1_764_000_000.123])
advances = st.just(0.0) | st.floats(0, 0.2) | st.floats(0, 30) | st.floats(0, 5000) | st.floats(-50, 0)
steps = st.lists(st.tuples(advances, st.integers(-1, 15)), max_size=40)


def drive(pacer: Pacer, start: float, moves: Iterable[tuple[float, int]]) -> list[float]:
    """Play a caller's moves and return the time of every grant, by the latest clock seen."""
    now, latest = start, pacer._latest
    grants: list[float] = []
    for advance, want in moves:
        now += advance
        latest = max(latest, now)
        granted = pacer.take(now, want)
        assert 0 <= granted <= max(want, 0)
        grants += [latest] * granted
    return grants


def spend(pacer: Pacer, start: float, until: float, lateness: random.Random | None = None) -> list[float]:
    """Take all there is, as a loop that wakes at `next_at`, or up to 5 ms late."""
    grants: list[float] = []
    now = start
    while now < until:
        grants += [now] * pacer.take(now, 1000)
        now = pacer.next_at(now) + (lateness.uniform(0, 0.005) if lateness else 0)
    return grants


def assert_ceiling(grants: Sequence[float], limits: Iterable[Limit]) -> None:
    """Check each sliding window in exact arithmetic."""
    exact = [Fraction(grant) for grant in grants]
    for limit in limits:
        for first, beyond in zip(exact, exact[limit.count :], strict=False):
            assert beyond - first >= Fraction(limit.period), limit


class TestCeiling:
    @pytest.mark.unmeasured
    @settings(max_examples=400, deadline=None)
    @given(limits=limit_lists, start=starts, moves=steps)
    def test_holds_in_every_sliding_window(
        self, limits: list[Limit], start: float, moves: list[tuple[float, int]]
    ) -> None:
        """Whatever the limits and the caller's steps, no window holds more than `count` grants."""
        assert_ceiling(drive(Pacer(limits), start, moves), limits)

    @settings(max_examples=200, deadline=None)
    @given(limits=limit_lists, start=starts, moves=steps, cut=st.integers(0, 40))
    def test_holds_across_restarts(
        self, limits: list[Limit], start: float, moves: list[tuple[float, int]], cut: int
    ) -> None:
        """A restart anywhere, seeded with what the longest limit can see, changes nothing about the ceiling."""
        before = drive(Pacer(limits), start, moves[:cut])
        restart = max(before, default=start)
        pacer = Pacer(limits)
        pacer.seed(at for at in before if at > restart - pacer.longest)
        assert_ceiling(before + drive(pacer, restart, moves[cut:]), limits)

    @pytest.mark.unmeasured
    @settings(max_examples=200, deadline=None)
    @given(limits=limit_lists, start=starts, moves=steps)
    def test_quotas_grant_all_that_their_windows_allow(
        self, limits: list[Limit], start: float, moves: list[tuple[float, int]]
    ) -> None:
        """Limits over a minute are spent as fast as asked: the grants are those of a plain count of each window."""
        quotas = [Limit(limit.count, limit.period + PACED_PERIOD) for limit in limits]
        expected: list[float] = []
        now, latest = start, -math.inf
        for advance, want in moves:
            now += advance
            latest = max(latest, now)
            for _ in range(want):
                opened = [Fraction(latest) - Fraction(quota.period) for quota in quotas]
                used = [sum(Fraction(at) > since for at in expected) for since in opened]
                if all(count < quota.count for count, quota in zip(used, quotas, strict=True)):
                    expected.append(latest)
        assert drive(Pacer(quotas), start, moves) == expected

    def test_of_a_tenth_of_a_second_is_exact_in_floating_point(self) -> None:
        """0.1 seconds have no exact float; the window is no bit too short even at today's Unix time."""
        limits = [Limit(3, 0.1)]
        assert_ceiling(spend(Pacer(limits), 1_764_000_000.1, 1_764_000_060.0), limits)


class TestNextAt:
    @pytest.mark.unmeasured
    @settings(max_examples=400, deadline=None)
    @given(limits=limit_lists, start=starts, moves=steps, later=advances)
    def test_is_the_earliest_time_that_grants(
        self, limits: list[Limit], start: float, moves: list[tuple[float, int]], later: float
    ) -> None:
        """`take(next_at(now), 1)` is 1 in every state, and the last float before it still gets nothing."""
        pacer = Pacer(limits)
        drive(pacer, start, moves)
        now = start + later
        due = pacer.next_at(now)
        assert due >= now
        assert (pacer.waiting_for(now) is None) == (due == now)
        if due > now:
            assert pacer.take(math.nextafter(due, -math.inf), 1) == 0
            assert pacer.next_at(now) == due
        assert pacer.take(due, 1) == 1

    def test_names_the_limit_that_holds_the_next_permit_back(self) -> None:
        """First the pace is waited for, then the quota."""
        pace, quota = limits = parse_rate("1/second, 3/hour")
        pacer = Pacer(limits)
        assert pacer.waiting_for(0.0) is None
        pacer.take(0.0, 1)
        assert pacer.waiting_for(0.0) == pace
        pacer.take(1.0, 1)
        pacer.take(2.0, 1)
        assert pacer.waiting_for(2.5) == quota
        assert pacer.next_at(2.5) == 3600.0
        assert pacer.waiting_for(3600.0) is None


class TestPacing:
    def test_starts_without_a_burst(self) -> None:
        """20/second grants one permit at once and the next after 50 ms."""
        pacer = Pacer([Limit(20, 1)])
        assert pacer.take(0.0, 100) == 1
        assert pacer.next_at(0.0) == pytest.approx(0.05)
        assert pacer.take(0.049, 100) == 0
        assert pacer.take(0.0501, 100) == 1

    def test_starts_without_a_burst_after_a_restart(self) -> None:
        """The time between two runs is no missed time."""
        pacer = Pacer([Limit(1000, 1)])
        pacer.seed([0.0, 0.001])
        assert pacer.take(500.0, 100) == 1

    def test_goes_on_from_the_last_seeded_time(self) -> None:
        """A restart doesn't shorten the pause after the last POST."""
        pacer = Pacer([Limit(20, 1)])
        pacer.seed([9.0, 10.0])
        assert pacer.take(10.02, 1) == 0
        assert pacer.next_at(10.02) == pytest.approx(10.05)

    @settings(max_examples=200, deadline=None)
    @given(
        limit=st.builds(Limit, st.integers(1, 200), st.floats(0.1, PACED_PERIOD)),
        moves=st.lists(st.tuples(st.floats(0, 0.1) | st.floats(0, 100), st.integers(0, 300)), max_size=30),
    )
    def test_never_saves_up_more_than_the_catch_up(self, limit: Limit, moves: list[tuple[float, int]]) -> None:
        """However long the caller slept, any stretch holds only its own share of permits and the catch-up's."""
        grants = drive(Pacer([limit]), 0.0, moves)
        interval = limit.period / limit.count
        for first, start in enumerate(grants):
            for last in range(first, len(grants)):
                assert last - first <= (grants[last] - start + CATCH_UP) / interval + 1e-6

    def test_gives_a_late_caller_what_it_missed(self) -> None:
        """At 100/second a caller that is 30 ms late gets three permits more, at once."""
        pacer = Pacer([Limit(100, 1)])
        assert pacer.take(0.0, 1) == 1
        assert pacer.take(0.0405, 100) == 4

    @pytest.mark.unmeasured
    @pytest.mark.parametrize("count", [20, 100, 1000])
    def test_keeps_its_throughput_with_a_late_caller(self, count: int) -> None:
        """Woken 0 to 5 ms late, the pacer grants at least 98 % of the rate and never exceeds it."""
        limits = [Limit(count, 1)]
        grants = spend(Pacer(limits), 0.0, 60.0, random.Random(7))  # noqa: S311 - a simulation
        assert len(grants) >= 0.98 * count * 60
        assert_ceiling(grants, limits)

    @pytest.mark.parametrize("start", [0.0, 1_764_000_000.0])
    def test_reaches_the_full_rate(self, start: float) -> None:
        """A punctual caller gets all of 50/second, one by one, at any epoch."""
        grants = spend(Pacer([Limit(50, 1)]), start, start + 100)
        assert len(grants) == pytest.approx(5000, abs=2)
        assert all(b - a == pytest.approx(0.02, abs=1e-5) for a, b in pairwise(grants))


class TestQuotas:
    def test_are_spent_at_the_pace_then_wait_for_the_window_to_slide(self) -> None:
        """20/second with 5000/hour sends 5000 in 250 seconds, then none until the first is an hour old."""
        limits = parse_rate("20/second, 5000/hour")
        grants = spend(Pacer(limits), 0.0, 3600.0)
        assert len(grants) == 5000
        assert grants[-1] == pytest.approx(249.95, abs=0.01)
        grants = spend(Pacer(limits), 0.0, 7200.0)
        assert len(grants) == 10_000
        assert grants[5000] == 3600.0
        assert grants[-1] == pytest.approx(3849.95, abs=0.1)
        assert_ceiling(grants, limits)

    def test_survive_a_restart_in_the_middle_of_a_window(self) -> None:
        """What an earlier run sent counts until it is a period old."""
        pacer = Pacer([Limit(5, 3600)])
        pacer.seed([1000.0, 2000.0, 3000.0])
        assert pacer.take(4000.0, 10) == 2
        assert pacer.next_at(4000.0) == 4600.0
        assert pacer.take(4600.0, 10) == 1
        assert pacer.next_at(4600.0) == 5600.0

    def test_already_exceeded_by_earlier_runs_wait(self) -> None:
        """After the quota was lowered, only its last `count` POSTs decide."""
        pacer = Pacer([Limit(2, 3600)])
        pacer.seed([0.0, 10.0, 20.0, 30.0])
        assert pacer.next_at(40.0) == 3620.0

    def test_count_times_out_of_order_as_the_latest(self) -> None:
        """A journal written over a clock change makes the pacer careful, never bold."""
        pacer = Pacer([Limit(2, 3600)])
        pacer.seed([100.0, 50.0, 60.0])
        assert pacer.next_at(200.0) == 3700.0


class TestPacer:
    def test_without_limits_grants_everything(self) -> None:
        """No rate, no waiting."""
        pacer = Pacer(())
        pacer.seed([1.0])
        assert pacer.longest == 0
        assert pacer.take(0.0, 7) == 7
        assert pacer.next_at(0.5) == 0.5
        assert pacer.waiting_for(0.5) is None

    def test_tells_how_far_back_to_seed(self) -> None:
        """`longest` is the longest period."""
        assert Pacer(parse_rate("20/second, 5000/day, 100/hour")).longest == 86400

    def test_grants_nothing_for_a_clock_that_goes_back(self) -> None:
        """An earlier time counts as the latest seen."""
        pacer = Pacer([Limit(2, 100)])
        assert pacer.take(1000.0, 2) == 2
        assert pacer.take(0.0, 1) == 0
        assert pacer.take(950.0, 1) == 0
        assert pacer.next_at(0.0) == 1100.0

    def test_books_nothing_it_does_not_grant(self) -> None:
        """While one limit refuses, the other's window stays free."""
        pacer = Pacer([Limit(1, 1), Limit(2, 3600)])
        assert pacer.take(0.0, 5) == 1
        assert pacer.take(0.5, 5) == 0
        assert pacer.take(1.0, 5) == 1
        assert pacer.waiting_for(10.0) == Limit(2, 3600)

    @given(
        limits=st.lists(st.builds(Limit, st.integers(1, 6), st.sampled_from([0.1, 1.0, 2.5, 60.0, 61.0])), max_size=3),
        jitter=st.sampled_from([0.0, 0.02]),
        seeded=st.integers(0, 8),
        steps=st.lists(st.tuples(st.floats(0.0, 3.0), st.floats(0.0, 2.0), st.integers(0, 9)), max_size=40),
    )
    def test_tells_what_it_would_grant_and_no_less_later(
        self, limits: list[Limit], jitter: float, seeded: int, steps: list[tuple[float, float, int]]
    ) -> None:
        """So that whoever looks, commits for a while and takes gets what was there."""
        pacer = Pacer(limits, jitter=jitter)
        pacer.seed(float(number) for number in range(seeded))
        now = 5.0
        for pause, commit, want in steps:
            now += pause
            before = pacer.room(now, want)
            now += commit
            assert before <= (room := pacer.room(now, want)) <= want
            assert pacer.take(now, want) == room


class TestParseRate:
    @pytest.mark.parametrize(
        ("text", "limits"),
        [
            (None, []),
            ("20/second", [(20, 1)]),
            ("20/second, 5000/day", [(20, 1), (5000, 86400)]),
            ("20/s,100/5 minutes", [(20, 1), (100, 300)]),
            ("20 per second", [(20, 1)]),
            ("20 PER Second", [(20, 1)]),
            (" 7 / min ", [(7, 60)]),
            ("7/m", [(7, 60)]),
            ("7/2h", [(7, 7200)]),
            ("7/hours", [(7, 3600)]),
            ("7/d", [(7, 86400)]),
            ("7/sec", [(7, 1)]),
            ("1/0.5 seconds", [(1, 0.5)]),
            ("0.5/second", [(1, 2)]),
            ("2.5/second", [(5, 2)]),
            ("2.0/second", [(2, 1)]),
            ("0.5/minute", [(1, 120)]),
            ("2.5/day", [(5, 172800)]),
            ("1,000,000/day, 2_000/hour", [(1_000_000, 86400), (2000, 3600)]),
            ("20/second,500/day", [(20, 1), (500, 86400)]),
            ("20/second, 10/s, 20/sec", [(10, 1)]),
            ("60/minute, 1/second", [(60, 60), (1, 1)]),
            ("100000/second", [(100_000, 1)]),
        ],
    )
    def test_reads(self, text: str | None, limits: list[tuple[int, float]]) -> None:
        """Units in all their spellings; of equal periods the stricter limit."""
        assert parse_rate(text) == tuple(Limit(count, period) for count, period in limits)

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "'' is not a number per"),  # it would switch off what it was written for
            (" ", "not a number per"),
            ("fast", "'fast' is not a number per"),
            ("20", "not a number per"),
            ("20/", "not a number per"),
            ("/second", "not a number per"),
            ("-5/second", "not a number per"),
            ("20/fortnight", "'20/fortnight' is not"),
            ("20second", "not a number per"),
            ("20/second,", "'' is not"),
            ("20/second; 30/day", "not a number per"),
            ("0,5/second", "not a number per"),
            ("\u0662/second", "not a number per"),
            ("9" * 5000 + "/second", "not a number per"),
            ("20/second\n5000/day", "not a number per"),
            ("0/second", "'0/second' would never send"),
            ("0.0/second", "would never send"),
            ("5/0 seconds", "would never send"),
            ("100001/second", "above 100000/second"),
            ("999999999999/minute", "above 100000/second"),
            ("1/367 days", "more than a year"),
            ("0.001/day", "more than a year"),
            ("1.001/second", "can't be spread evenly"),
        ],
    )
    def test_refuses_in_one_line(self, text: str, reason: str) -> None:
        """The message names the text, the reason and an example."""
        with pytest.raises(CampaignError) as caught:
            parse_rate(text)
        message = str(caught.value)
        assert reason in message
        assert repr(text) in message
        assert '"20/second, 5000/day"' in message
        assert "\n" not in message

    @pytest.mark.parametrize(
        ("limit", "text"),
        [
            (Limit(20, 1), "20/second"),
            (Limit(5000, 86400), "5000/day"),
            (Limit(100, 300), "100/5 minutes"),
            (Limit(1, 0.5), "1/0.5 seconds"),
            (Limit(3, 90), "3/90 seconds"),
            (Limit(3, 3600), "3/hour"),
            (Limit(3, 7 * 86400), "3/7 days"),
        ],
    )
    def test_is_undone_by_str(self, limit: Limit, text: str) -> None:
        """A limit is shown as people write it, and read back the same."""
        assert str(limit) == text
        assert parse_rate(text) == (limit,)

    @settings(deadline=None)
    @given(st.text(max_size=20) | st.from_regex(r"[0-9.]{1,4}[/ ][0-9.]{0,3} ?(s|min|hour|days)", fullmatch=True))
    def test_never_fails_otherwise(self, text: str) -> None:
        """Any text is limits or a CampaignError."""
        try:
            limits = parse_rate(text)
        except CampaignError:
            return
        assert all(limit.count >= 1 and limit.period > 0 for limit in limits)

    @pytest.mark.parametrize(("count", "period"), [(0, 1), (-1, 1), (1, 0), (1, -1), (1, math.inf), (1, math.nan)])
    def test_a_limit_that_cannot_be_kept_is_refused(self, count: int, period: float) -> None:
        """Made in Python, a limit is checked too."""
        with pytest.raises(CampaignError, match="can't be kept"):
            Limit(count, period)


def rome(text: str, fold: int = 0) -> datetime:
    """Give an instant by Rome's wall clock."""
    return datetime.fromisoformat(text).replace(tzinfo=ROME, fold=fold).astimezone(UTC)


class TestWindow:
    # 2026-11-02 is a Monday.
    @pytest.mark.parametrize(
        ("text", "at", "is_open"),
        [
            ("Mon-Fri 09:00-18:00 Europe/Rome", "2026-11-02T09:00", True),
            ("Mon-Fri 09:00-18:00 Europe/Rome", "2026-11-02T08:59:59.999999", False),
            ("Mon-Fri 09:00-18:00 Europe/Rome", "2026-11-02T17:59:59.999999", True),
            ("Mon-Fri 09:00-18:00 Europe/Rome", "2026-11-02T18:00", False),
            ("Mon-Fri 09:00-18:00 Europe/Rome", "2026-11-07T12:00", False),
            ("Fri-Mon 09:00-18:00 Europe/Rome", "2026-11-08T12:00", True),
            ("Fri-Mon 09:00-18:00 Europe/Rome", "2026-11-03T12:00", False),
            ("mon, WEDNESDAY,Sa-Su 9:00-18:00 Europe/Rome", "2026-11-04T12:00", True),
            ("mon, WEDNESDAY,Sa-Su 9:00-18:00 Europe/Rome", "2026-11-05T12:00", False),
            ("09:00\u201318:00 Europe/Rome", "2026-11-08T12:00", True),
            ("09:00-18:00 UTC", "2026-11-02T09:30", False),
            ("09:00-18:00 UTC", "2026-11-02T10:00", True),
            ("Fri 22:00-06:00 Europe/Rome", "2026-11-07T05:59", True),
            ("Fri 22:00-06:00 Europe/Rome", "2026-11-07T06:00", False),
            ("Fri 22:00-06:00 Europe/Rome", "2026-11-06T05:00", False),
            ("Fri 22:00-06:00 Europe/Rome", "2026-11-07T22:00", False),
            ("Sun 20:00-24:00 Europe/Rome", "2026-11-08T23:59:59", True),
            ("Sun 20:00-24:00 Europe/Rome", "2026-11-09T00:00", False),
            ("Sun 20:00-00:00 Europe/Rome", "2026-11-09T00:00", False),
            ("00:00-24:00 Europe/Rome", "2026-11-09T00:00", True),
        ],
    )
    def test_is_open(self, text: str, at: str, is_open: bool) -> None:
        """Days, ranges over the weekend, hours over midnight; the start is in, the end is out."""
        assert Window.parse(text).is_open(rome(at)) is is_open

    @pytest.mark.parametrize(
        ("text", "at", "opening"),
        [
            ("Mon-Fri 09:00-18:00 Europe/Rome", "2026-11-02T07:00", "2026-11-02T09:00"),
            ("Mon-Fri 09:00-18:00 Europe/Rome", "2026-11-06T18:00", "2026-11-09T09:00"),
            ("Mon 09:00-18:00 Europe/Rome", "2026-11-02T18:00", "2026-11-09T09:00"),
            ("Fri 22:00-06:00 Europe/Rome", "2026-11-07T06:00", "2026-11-13T22:00"),
            # Rome's clocks go forward at 02:00 on 2026-03-29 and back at 03:00 on 2026-10-25.
            ("09:00-18:00 Europe/Rome", "2026-03-28T18:00", "2026-03-29T09:00"),
            ("09:00-18:00 Europe/Rome", "2026-10-24T18:00", "2026-10-25T09:00"),
            ("02:30-05:00 Europe/Rome", "2026-03-29T01:00", "2026-03-29T03:30"),
            ("02:30-05:00 Europe/Rome", "2026-10-25T01:00", "2026-10-25T02:30"),
            # The clock change swallows these hours: the next day's, or the next week's, are the first.
            ("02:45-03:15 Europe/Rome", "2026-03-29T01:00", "2026-03-30T02:45"),
            ("Sun 02:45-03:15 Europe/Rome", "2026-03-28T01:00", "2026-04-05T02:45"),
        ],
    )
    def test_next_open(self, text: str, at: str, opening: str) -> None:
        """The next opening by the zone's own clock, also across a change of clocks."""
        window = Window.parse(text)
        found = window.next_open(rome(at))
        assert found == rome(opening)
        assert window.is_open(found)
        assert not window.is_open(found - timedelta(microseconds=1))

    def test_next_open_is_the_time_itself_when_open(self) -> None:
        """The very datetime comes back."""
        at = rome("2026-11-02T12:00")
        assert Window.parse("Mon 09:00-18:00 Europe/Rome").next_open(at) is at

    @pytest.mark.parametrize(("night", "hours"), [("2026-03-28", 7), ("2026-10-24", 9), ("2026-11-07", 8)])
    def test_a_night_is_as_long_as_the_clocks_make_it(self, night: str, hours: int) -> None:
        """22:00-06:00 is open for 7 or 9 real hours when the clocks change, without a break."""
        window = Window.parse("Sat 22:00-06:00 Europe/Rome")
        start = rome(f"{night}T20:00")
        minutes = [window.is_open(start + timedelta(minutes=n)) for n in range(14 * 60)]
        assert sum(minutes) == hours * 60
        assert sum(a != b for a, b in pairwise(minutes)) == 2

    def test_an_hour_that_comes_twice_ends_at_its_first_time(self) -> None:
        """Until 02:30 means the first 02:30; the second time round it stays closed."""
        window = Window.parse("00:00-02:30 Europe/Rome")
        assert window.is_open(rome("2026-10-25T02:15"))
        assert not window.is_open(rome("2026-10-25T02:15", fold=1))

    @settings(deadline=None)
    @given(
        opens=st.integers(0, 1439),
        length=st.integers(1, 1440),
        days=st.sets(st.integers(0, 6), min_size=1),
        zone=st.sampled_from(["Europe/Rome", "UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
        at=st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.sampled_from([UTC, ROME])),  # noqa: DTZ001 - hypothesis adds the zone
    )
    def test_text_and_openings_agree(self, opens: int, length: int, days: set[int], zone: str, at: datetime) -> None:
        """A window reads its own text back, and opens at `next_open`, by which time it had been closed."""
        window = Window(tuple(sorted(days)), opens, opens + length, ZoneInfo(zone))
        if length < 1440 or opens == 0:
            assert Window.parse(str(window)) == window
        opening = window.next_open(at)
        assert window.is_open(opening)
        assert (opening is at) == window.is_open(at)
        if opening is not at:
            assert opening > at.astimezone(UTC)
            assert not window.is_open(opening - timedelta(microseconds=1))

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("monday-friday 9:00-18:00 Europe/Rome", "Mon-Fri 09:00-18:00 Europe/Rome"),
            ("Fri-Mon 22:00-06:00 UTC", "Mon,Fri-Sun 22:00-06:00 UTC"),
            ("Tue,Wed 10:00-00:00 UTC", "Tue,Wed 10:00-24:00 UTC"),
            ("Mon-Sun 10:00-11:00 UTC", "10:00-11:00 UTC"),
            ("Sat-Sat 10:00-11:00 UTC", "Sat 10:00-11:00 UTC"),
        ],
    )
    def test_is_shown_in_one_way(self, text: str, shown: str) -> None:
        """Names, hours and ranges are normalised."""
        assert str(Window.parse(text)) == shown

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "expected days, hours and a time zone"),
            ("always", "expected days"),
            ("Mon-Fri 9-18 UTC", "expected days"),
            ("Mon-Fri 09:00-18:00", "the time zone is missing"),
            ("Mon-Fri 09:00-18:00 Europe/Roma", "no time zone 'Europe/Roma'; did you mean Europe/Rome?"),
            ("Mon-Fri 09:00-18:00 europe/rome", "did you mean Europe/Rome?"),
            ("Mon-Fri 09:00-18:00 Europe", "no time zone 'Europe'"),
            ("Mon-Fri 09:00-18:00 ../../etc/passwd", "no time zone '../../etc/passwd'"),
            ("Mon-Fri 09:00-18:00 \u263a", "no time zone '\u263a' (example"),
            ("Mon-Fry 09:00-18:00 UTC", "there is no day 'Fry'"),
            ("Mon- 09:00-18:00 UTC", "there is no day ''"),
            ("M 09:00-18:00 UTC", "there is no day 'M'"),
            ("Mon,,Tue 09:00-18:00 UTC", "there is no day ''"),
            ("25:00-26:00 UTC", "there is no time 25:00"),
            ("09:00-24:01 UTC", "there is no time 24:01"),
            ("09:60-18:00 UTC", "there is no time 09:60"),
            ("09:00-09:00 UTC", "the hours are empty"),
            ("24:00-06:00 UTC", "the hours are empty"),
        ],
    )
    def test_refuses_in_one_line(self, text: str, reason: str) -> None:
        """The message names the text, the reason and an example."""
        with pytest.raises(CampaignError) as caught:
            Window.parse(text)
        message = str(caught.value)
        assert reason in message
        assert repr(text) in message
        assert '"Mon-Fri 09:00-18:00 Europe/Rome"' in message
        assert "\n" not in message

    @pytest.mark.parametrize("zone", [UTC, ROME])
    def test_any_zone_may_ask(self, zone: tzinfo) -> None:
        """The caller's own zone doesn't matter, but it must have one."""
        window = Window.parse("Mon 09:00-18:00 America/New_York")
        assert window.is_open(rome("2026-11-02T15:00").astimezone(zone))
        with pytest.raises(ValueError, match="aware"):
            window.is_open(datetime(2026, 11, 2))  # noqa: DTZ001 - naive on purpose


def test_jitter_keeps_the_ceiling_where_posts_arrive() -> None:
    """POSTs that arrive up to the jitter after their permits still never exceed the limit in any window."""
    pacer = Pacer([Limit(20, 1.0)], jitter=0.02)
    dice = random.Random(7)  # noqa: S311 - a simulation
    arrivals, now = [], 0.0
    while now < 60.0:
        now = pacer.next_at(now)
        arrivals += [now + dice.uniform(0.0, 0.02) for _ in range(pacer.take(now, 5))]
    arrivals.sort()
    assert all(later - earlier >= 1.0 for earlier, later in zip(arrivals, arrivals[20:], strict=False))
    assert len(arrivals) >= 0.97 * 20 * 60
