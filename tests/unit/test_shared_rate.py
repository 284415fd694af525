"""The rate that processes share is a ceiling over all of them, whatever their clocks, trips, pauses and ends are."""

from __future__ import annotations

import heapq
import json
import random
import subprocess
import sys
import textwrap
import threading
import time
import uuid
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.database import Server
from turbobatch.errors import CampaignError, JournalError
from turbobatch.journal import Intent, JournalUrl, SqliteJournal, journal_place, open_journal, open_pacer
from turbobatch.journal.clock import SECOND, boot_time
from turbobatch.journal.database import sql
from turbobatch.journal.permits import Permits, Reservation
from turbobatch.journal.postgres import PostgresJournal
from turbobatch.journal.shared_rate import Rate, SharedRate
from turbobatch.rates import Limit, Pacer, parse_rate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from tests.conftest import Until
    from turbobatch.rates import Pacing

NAME = "receipts"
MS = SECOND // 1000
START = 1_795_000_000 * SECOND  # of the simulated server's clock


def ask(url: JournalUrl, statement: str) -> list[tuple[Any, ...]]:
    """Run a statement as somebody else."""
    with psycopg.connect(url.conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def assert_ceiling(spent: Sequence[int], limits: Sequence[Limit]) -> None:
    """Check each sliding window; times in nanoseconds."""
    ordered = sorted(spent)
    for limit in limits:
        for first, beyond in zip(ordered, ordered[limit.count :], strict=False):
            assert beyond - first >= limit.period * SECOND, limit


# The database's part, with a clock that stands still until it is told


class Simulated:
    """The function that reserves, by a clock that the test sets; a session of its own."""

    def __init__(self, url: JournalUrl, limits: Sequence[Limit]) -> None:
        self._connection = psycopg.connect(url.conninfo, autocommit=True)
        name, make = f"simulated {uuid.uuid4()}", "INSERT INTO turbobatch_campaign (name) VALUES (%s) RETURNING id"
        ((campaign,),) = self._connection.execute(make, (name,)).fetchall()
        self._connection.execute(
            "CREATE OR REPLACE FUNCTION turbobatch_clock() RETURNS bigint LANGUAGE sql VOLATILE "
            "AS $$ SELECT current_setting('test.clock')::bigint $$"
        )
        self._connection.execute("SET synchronous_commit = off")
        self.rate = Rate(limits, 0.0)
        self._values = {**self.rate.values, "campaign": campaign, "ahead": SECOND // 4, "batch": 50 * MS}

    def set_rate(self, now: int) -> None:
        self._set(now)
        self._connection.execute(sql("set_rate"), {**self._values, "me": 0})

    def reserve(self, now: int, wanted: int, **values: Any) -> Reservation:
        self._set(now)
        usual = {"spread": self.rate.spread, "resting": False, "lost": 0, "returned": 0, "returned_from": 0}
        row = self._connection.execute(sql("reserve"), {**self._values, **usual, "wanted": wanted, **values}).fetchone()
        assert row is not None
        return Reservation(*row)

    def close(self) -> None:
        self._connection.close()

    def _set(self, now: int) -> None:
        self._connection.execute("SELECT set_config('test.clock', %s, false)", (str(now),))


@pytest.fixture
def simulated(url: JournalUrl) -> Iterator[Callable[..., Simulated]]:
    """A campaign of its own for each call."""
    held: list[Simulated] = []
    open_journal(url, NAME).close()

    def make(rate: str) -> Simulated:
        made = Simulated(url, parse_rate(rate))
        held.append(made)
        made.set_rate(START)
        return made

    yield make
    for item in held:
        item.close()


@dataclass
class World:
    """What all processes are in: the one true clock, the server's, and when POSTs began."""

    now: int = 0  # nanoseconds
    shift: int = START
    spent: list[int] = field(default_factory=list)


@dataclass
class Process:
    """One that takes what it can get: with a clock, trips, pauses and commits of its own."""

    server: Simulated
    world: World
    dice: random.Random
    slow: float
    punctual: bool

    def __post_init__(self) -> None:
        self.permits = Permits(self.server.rate.spread)
        self.offset = self.dice.randrange(10**15)

    @property
    def here(self) -> int:
        """Its clock."""
        return self.world.now + self.offset

    def trip(self) -> int:
        """One way to the server, or back."""
        return int(self.dice.expovariate(1.0) * self.slow * SECOND)

    def pause(self) -> int:
        """How late it is."""
        late = [0.0] if self.punctual else [0.0, 0.0005, 0.005, 0.005, 0.05, 0.4, 3.0]
        return int(self.dice.choice(late) * self.dice.random() * SECOND)

    def commit(self) -> int:
        """How long it is from where permits are found to be good until a POST may begin."""
        stalls = [0.004] if self.punctual else [0.0, 0.005, 0.005, 0.01, 0.04, 1.5]
        return int(self.dice.choice(stalls) * self.dice.random() * SECOND)

    def live(self) -> Iterator[int]:
        """What it does, in steps; how long until the next one, each time."""
        yield self.pause()
        claimed = 0
        while True:
            want = claimed or self.dice.choice([1, 3, 16, 100])
            if missing := self.permits.missing(self.here, want, SECOND // 40):
                left, unspent = self.here, self.permits.unspent()
                yield self.trip()
                given = self.reserve(missing, unspent)
                yield self.trip()
                self.permits.receive(left, self.here, given)
                yield self.pause()
            if not claimed:
                claimed, wait = self.permits.good(self.here, want), self.commit()
                self.permits.was_spent_after(wait)
                yield wait
            granted = self.permits.spend(self.here, claimed)
            claimed -= granted
            self.world.spent.extend([self.world.now] * granted)
            yield max(self.permits.next_at(self.here) - self.here, MS // 10) + self.pause()

    def reserve(self, missing: int, unspent: tuple[int, int]) -> Reservation:
        """Ask for permits, by the server's clock."""
        batch = min(50 * MS + self.permits.trip, SECOND // 4)
        values = {"batch": batch, "returned": unspent[0], "returned_from": unspent[1]}
        return self.server.reserve(self.world.now + self.world.shift, missing, spread=self.permits.spread, **values)


def simulate(
    server: Simulated, dice: random.Random, slows: Sequence[float], *, steps: int, back: int = 0, punctual: bool = False
) -> list[int]:
    """Play processes for so many steps; when permits were spent, as POSTs began, by the one true clock."""
    world = World()
    processes = [Process(server, world, dice, slow, punctual) for slow in slows]
    events = [(0, number, process.live()) for number, process in enumerate(processes)]
    for step in range(steps):
        if back and step == steps // 2:
            world.shift -= back
        world.now, _, process = heapq.heappop(events)
        heapq.heappush(events, (world.now + next(process), dice.getrandbits(62), process))
    return world.spent


class TestCeiling:
    @pytest.mark.unmeasured
    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        rate=st.sampled_from([
            "20/second", "200/second", "2000/second", "1/second", "1/2 seconds", "30/minute, 3/0.1 seconds",
            "5/second, 8/61 seconds", "40/90 seconds", "200/second, 300/61 seconds, 400/5 minutes",
        ]),
        slows=st.lists(st.sampled_from([0.0, 0.0003, 0.005, 0.05, 0.3]), min_size=1, max_size=5),
        back=st.sampled_from([0, 0, SECOND // 10, 3 * SECOND, 3600 * SECOND]),
        seed=st.integers(0, 2**32),
    )  # fmt: skip
    def test_holds_whatever_clocks_and_networks_do(
        self, simulated: Callable[..., Simulated], rate: str, slows: list[float], back: int, seed: int
    ) -> None:
        """Over all processes, in each sliding window, by a clock that none of them has."""
        server = simulated(rate)
        spent = simulate(server, random.Random(seed), slows, steps=300, back=back)  # noqa: S311 - a simulation
        assert spent
        assert_ceiling(spent, parse_rate(rate))

    @pytest.mark.parametrize(("rate", "seconds"), [("20/second", 10), ("200/second", 2), ("2000/second", 1)])
    @pytest.mark.parametrize("count", [1, 4])
    def test_is_nearly_reached(self, simulated: Callable[..., Simulated], rate: str, seconds: int, count: int) -> None:
        """By who is punctual, near the server: all but a twentieth; and no more than one step's permits at once."""
        dice = random.Random(7)  # noqa: S311 - a simulation
        spent = [at for at in simulate(simulated(rate), dice, [0.0002] * count, steps=2500, punctual=True)
                 if at < seconds * SECOND]  # fmt: skip
        (limit,) = parse_rate(rate)
        assert_ceiling(spent, [limit])
        assert len(spent) >= 0.95 * limit.count * seconds

    def test_a_far_process_gets_its_share(self, simulated: Callable[..., Simulated]) -> None:
        """Trips longer than a permit is good for cost some of the rate, not all of it."""
        dice = random.Random(7)  # noqa: S311 - a simulation
        spent = simulate(simulated("20/second"), dice, [0.1], steps=900, punctual=True)
        assert_ceiling(spent, [Limit(20, 1.0)])
        assert len(spent) > 5 * max(spent) / SECOND


class TestReserve:
    def test_slots_follow_each_other(self, simulated: Callable[..., Simulated]) -> None:
        """Whoever asks, and never more than 50 ms' worth; none that lies more than 250 ms ahead."""
        server = simulated("200/second")
        slots: list[int] = []
        while (given := server.reserve(START + SECOND, 100)).granted:
            assert given.granted <= 10
            slots += [given.first + number * given.step for number in range(given.granted)]
        assert slots[0] == START + SECOND
        assert {b - a for a, b in pairwise(slots)} == {given.step}
        assert slots[-1] - slots[0] <= 300 * MS
        later = server.reserve(given.ask_at, 1)
        assert (later.granted, later.first) == (1, slots[-1] + given.step)

    def test_a_slow_rate_is_reserved_one_by_one(self, simulated: Callable[..., Simulated]) -> None:
        """Nobody holds what goes a minute later."""
        server = simulated("1/minute")
        assert server.reserve(START + SECOND, 100).granted == 1
        given = server.reserve(START + 2 * SECOND, 100)
        assert given.granted == 0
        assert given.held_by is None
        assert 58 * SECOND < given.ask_at - START < 62 * SECOND
        assert server.reserve(given.ask_at, 100).granted == 1

    def test_what_a_far_process_needs_holds_for_all_for_some_seconds(self, simulated: Callable[..., Simulated]) -> None:
        """And where it needs it no more, the next slot makes up for what may be spent late."""
        server = simulated("20/second")
        wide, now = 500 * MS, START + SECOND
        assert server.reserve(now, 1).spread == 25 * MS
        given = server.reserve(now, 1, spread=wide)
        assert (given.spread, given.step) == (wide, 75 * MS)
        while now <= START + 6 * SECOND:
            last = given
            given = server.reserve(now, 1)
            assert (given.spread, given.first) == (wide, last.first + last.step)
            now = given.first + 1
        last, given = given, server.reserve(now, 1)
        assert (given.spread, given.step) == (25 * MS, 51_250_000)
        assert given.first == last.first + last.step + wide - 25 * MS

    def test_quotas_count_what_all_have_reserved(self, simulated: Callable[..., Simulated]) -> None:
        """At once as much as is left of them; then nothing until the bucket has left the window, which it tells."""
        server = simulated("10/hour")
        assert server.reserve(START, 7).granted == 7
        assert server.reserve(START + 1800 * SECOND, 7).granted == 3
        given = server.reserve(START + 1801 * SECOND, 7)
        assert (given.granted, given.held_by) == (0, 3600 * SECOND)
        assert START + 3600 * SECOND <= given.ask_at <= START + 3640 * SECOND
        assert server.reserve(given.ask_at - MS, 9).granted == 0
        assert server.reserve(given.ask_at, 9).granted == 7

    def test_what_was_not_spent_is_given_back_where_it_was_booked(self, simulated: Callable[..., Simulated]) -> None:
        """Not where it is returned: that would leave an hour without it, later."""
        server = simulated("10/hour")
        booked = server.reserve(START, 10).booked
        given = server.reserve(START + 1800 * SECOND, 10, returned=4, returned_from=booked)
        assert given.granted == 4
        later = server.reserve(START + 3640 * SECOND, 10)
        assert later.granted == 6

    def test_after_a_crash_nothing_is_granted_for_a_second_and_a_step(
        self, simulated: Callable[..., Simulated]
    ) -> None:
        """What the server may have forgotten is over by then; and it counts."""
        server = simulated("1/2 seconds, 100/hour")
        given = server.reserve(START, 5, resting=True, lost=98)
        assert given.granted == 0
        assert START + 2 * SECOND < given.ask_at < START + 3 * SECOND
        assert server.reserve(given.ask_at, 5).granted == 1
        assert server.reserve(START + 10 * SECOND, 5).granted == 1
        assert server.reserve(START + 20 * SECOND, 5).held_by == 3600 * SECOND


# Permits held


def reservation(count: int, *, first: int = 100 * MS, spread: int = 25 * MS, ask_at: int = 0) -> Reservation:
    return Reservation(0, first, 10 * MS, count, spread, ask_at, None, booked=7)


class TestPermits:
    def test_are_good_from_their_slot_on_for_the_spread(self) -> None:
        """Less the trip, in which the server may have read its clock at any time."""
        for now, spent in [(102 * MS - 1, 0), (102 * MS, 1), (125 * MS, 1), (125 * MS + 1, 0)]:
            permits = Permits(25 * MS)
            permits.receive(0, 2 * MS, reservation(1))
            assert permits.spend(now, 5) == spent

    def test_are_spent_no_faster_than_wanted(self) -> None:
        permits = Permits(25 * MS)
        permits.receive(0, 0, reservation(3))
        assert permits.next_at(0) == 100 * MS
        assert permits.spend(120 * MS, 2) == 2
        assert permits.spend(120 * MS, 2) == 1

    def test_that_are_good_are_told_and_stay(self) -> None:
        """From their slot on, while their time lasts, and no more than are wanted."""
        permits = Permits(25 * MS)
        permits.receive(0, 0, reservation(3))
        for now, wanted, good in [(99, 9, 0), (100, 9, 1), (120, 9, 3), (120, 2, 2), (126, 9, 2), (146, 9, 0)]:
            assert permits.good(now * MS, wanted) == good
        assert permits.spend(120 * MS, 9) == 3

    def test_that_are_forfeited_are_told_once(self) -> None:
        """With the time at which they were booked."""
        permits = Permits(25 * MS)
        permits.receive(0, 0, reservation(3))
        assert permits.spend(SECOND, 9) == 0
        assert permits.unspent() == (3, 7)
        assert permits.unspent() == (0, 0)

    def test_are_asked_for_when_they_run_low(self) -> None:
        """Not while the last one is far, or half of them are held, nor before there can be more."""
        permits = Permits(25 * MS)
        assert permits.missing(0, 4, 25 * MS) == 4
        permits.receive(0, 0, reservation(3, ask_at=110 * MS))
        assert permits.missing(94 * MS, 8, 25 * MS) == 0
        assert permits.missing(109 * MS, 8, 25 * MS) == 0
        assert permits.missing(110 * MS, 8, 25 * MS) == 5
        assert permits.missing(110 * MS, 5, 25 * MS) == 0

    def test_long_trips_ask_for_more_time(self) -> None:
        """Of the last ones half were as quick."""
        permits = Permits(25 * MS)
        for trip, spread in [(200, 600), (100, 300), (400, 600), (1, 300), (1, 300), (1, 25)]:
            permits.receive(0, trip * MS, reservation(0))
            assert permits.spread == spread * MS

    def test_long_commits_ask_for_more_time(self) -> None:
        """A single one doesn't, nor those that are so long that it is cheaper to take others after them."""
        permits = Permits(25 * MS)
        for wait, spread in [(20, 40), (1, 25), (100, 40), (100, 40), (100, 200), (4000, 200)]:
            permits.was_spent_after(wait * MS)
            assert permits.spread == spread * MS
        for _ in range(20):
            permits.was_spent_after(600 * MS)
        assert permits.spread == 25 * MS

    def test_that_came_too_late_are_forfeited(self) -> None:
        permits = Permits(25 * MS)
        permits.receive(0, 200 * MS, reservation(2))
        assert permits.next_at(200 * MS) == 200 * MS
        assert permits.unspent() == (2, 7)

    def test_of_the_last_second_may_be_forgotten(self) -> None:
        """By a server that fell after its last answer."""
        permits = Permits(25 * MS)
        for second in range(4):
            permits.receive(second * SECOND, second * SECOND, reservation(10 + second))
        assert permits.forgettable() == 12 + 13


# Processes at once

TAKER = """
    import sys, time, json
    from turbobatch.journal import journal_place, open_journal
    from turbobatch.journal.clock import boot_time
    from turbobatch.journal.shared_rate import Rate, SharedRate
    from turbobatch.rates import parse_rate

    url, rate, seconds, want = sys.argv[1:]
    looked = 0
    def clock():
        global looked
        looked = boot_time()
        return looked

    journal = open_journal(journal_place(url), "receipts")
    rate = Rate(parse_rate(rate), 0.0)
    assert journal.join(rate.values) is None
    pacer = SharedRate(journal, rate, clock=clock)
    print("ready", flush=True)
    sys.stdin.readline()
    spent = []
    until = time.monotonic() + float(seconds)
    while (now := time.monotonic()) < until:
        spent += pacer.take(now, int(want)) * [looked]
        time.sleep(min(max(pacer.next_at(now) - time.monotonic(), 0), 0.1))
    pacer.close()
    journal.close()
    print(json.dumps(spent))
"""


def take_at_once(url: JournalUrl, rate: str, *, count: int, seconds: float, want: int = 16) -> list[int]:
    """When real processes spent their permits: by the machine's clock, which they share."""
    code = textwrap.dedent(TAKER)
    arguments = [sys.executable, "-c", code, url.conninfo, rate, str(seconds), str(want)]
    processes = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(count)
    ]
    spent: list[int] = []
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            spent += json.loads(process.communicate(timeout=60)[0])
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    return spent


@pytest.mark.parametrize("rate", ["200/second", "2000/second"])
def test_four_processes_stay_below_the_rate_together(
    opened: Callable[[], PostgresJournal], url: JournalUrl, rate: str
) -> None:
    """As fast as each can; and they get somewhere."""
    opened()
    spent = take_at_once(url, rate, count=4, seconds=2)
    (limit,) = parse_rate(rate)
    assert_ceiling(spent, [limit])
    assert len(spent) > limit.count / 2


def test_a_quota_holds_over_processes_and_restarts(opened: Callable[[], PostgresJournal], url: JournalUrl) -> None:
    """To the last permit: what one didn't spend, another may."""
    opened()
    first = take_at_once(url, "50/day", count=2, seconds=0.5, want=7)
    rest = take_at_once(url, "50/day", count=2, seconds=0.5, want=7)
    assert len(first) + len(rest) == 50
    assert len(first) in (49, 50)  # who had to give one back at its end can't take it itself


# Agreeing on a rate


def take(pacer: Pacing, want: int = 1) -> int:
    return pacer.take(0.0, want)


def test_what_is_looked_at_is_not_taken(opened: Callable[[], PostgresJournal]) -> None:
    """A quota isn't used up by rows that others have sent, nor by commits that take long."""
    with closing(open_pacer(opened(), parse_rate("5/hour"))) as pacer:
        for _ in range(20):
            assert pacer.room(0.0, 6) == 5
        for _ in range(3):
            time.sleep(0.3)  # longer than a permit is good for
            assert pacer.room(0.0, 6) == 5
        assert take(pacer, 2) == 2
        assert pacer.room(0.0, 6) == 3
        assert take(pacer, 6) == 3
        assert take(pacer, 6) == 0


ASLEEP = "UPDATE turbobatch_worker SET expires = clock_timestamp() - interval '1 second'"  # all of them, until now


class TestAgreement:
    @pytest.mark.parametrize(
        ("one", "other", "named"),
        [
            ("20/second, 5000/day", "30/second", "at 20/second, 5000/day, this one would at 30/second"),
            (None, "30/second", "at no rate, this one would at 30/second"),
            ("20/second", None, "at 20/second, this one would at no rate"),
        ],
    )
    def test_another_rate_is_refused_while_a_run_goes_on(
        self, opened: Callable[[], PostgresJournal], one: str | None, other: str | None, named: str
    ) -> None:
        """In one line that tells both; and is taken once it has ended."""
        first, second = opened(), opened()
        open_pacer(first, parse_rate(one)).close()
        for _ in range(2):
            with pytest.raises(CampaignError, match=named) as caught:
                open_pacer(second, parse_rate(other))
            assert "give both the same rate, or wait until the other has ended (if it was killed, 60 s longer)" in str(
                caught.value
            )
            assert "\n" not in str(caught.value)
        first.close()
        open_pacer(second, parse_rate(other)).close()

    def test_the_same_rate_may_be_written_in_another_way(self, opened: Callable[[], PostgresJournal]) -> None:
        for text in ("20/second, 300/hour", "300 per 60 minutes, 20/s"):
            open_pacer(opened(), parse_rate(text)).close()

    def test_two_may_change_it_alike_at_once(self, opened: Callable[[], PostgresJournal]) -> None:
        """What counts is what others send at now, not what was before."""
        first = opened()
        open_pacer(first, parse_rate("20/second")).close()
        first.close()
        for _ in range(2):
            open_pacer(opened(), parse_rate("30/second")).close()

    def test_who_comes_back_to_another_rate_stops(self, opened: Callable[[], PostgresJournal], url: JournalUrl) -> None:
        """It was asleep for longer than its lease."""
        with closing(open_pacer(opened(), parse_rate("20/second"))) as sleeper:
            ask(url, ASLEEP)
            open_pacer(opened(), parse_rate("30/second")).close()
            with pytest.raises(JournalError, match=r"the rate of the campaign .* was changed by another process"):
                take(sleeper)

    @pytest.mark.parametrize("mine", [None, "20/second"])
    def test_who_comes_back_to_another_rate_claims_nothing(
        self, opened: Callable[[], PostgresJournal], url: JournalUrl, mine: str | None
    ) -> None:
        """Also one without a rate, that never asks for permits; with nothing in flight it could go on otherwise."""
        sleeper, other = opened(), opened()
        open_pacer(sleeper, parse_rate(mine)).close()
        ask(url, ASLEEP)
        open_pacer(other, parse_rate("30/second")).close()
        with pytest.raises(JournalError, match="was lost"):
            sleeper.commit([Intent(key="a", digest="d", time=1.0)], [])
        assert ask(url, "SELECT count(*) FROM turbobatch_post") == [(0,)]

    def test_who_comes_back_to_its_own_rate_goes_on(
        self, opened: Callable[[], PostgresJournal], url: JournalUrl
    ) -> None:
        sleeper = opened()
        with closing(open_pacer(sleeper, parse_rate("20/second"))) as pacer:
            ask(url, ASLEEP)
            open_pacer(opened(), parse_rate("20/second")).close()
            assert pacer.room(0.0, 1) == 1
            assert sleeper.commit([Intent(key="a", digest="d", time=1.0)], []) == {}
            assert take(pacer) == 1

    def test_who_comes_back_while_another_rate_is_agreed_on_waits_for_it(
        self, opened: Callable[[], PostgresJournal], url: JournalUrl, until: Until
    ) -> None:
        """And goes on beside nobody who sends at another one."""
        sleeper, other = opened(), opened()
        for journal in (sleeper, other):
            open_pacer(journal, ()).close()
        ask(url, ASLEEP)
        values = {**Rate(parse_rate("1/second"), 0.0).values, "campaign": other.campaign, "me": other.me}
        raised: list[JournalError] = []

        def come_back() -> None:
            try:
                sleeper.commit([Intent(key="a", digest="d", time=1.0)], [])
            except JournalError as error:
                raised.append(error)

        waiting = threading.Thread(target=come_back)
        with psycopg.connect(url.conninfo) as connection:
            ((refused,),) = connection.execute(sql("set_rate"), values).fetchall()
            waiting.start()
            until(lambda: ask(url, "SELECT count(*) FROM pg_locks WHERE NOT granted") == [(1,)])
        waiting.join()
        assert refused is None
        assert "was lost" in str(raised[0])

    def test_without_limits_nothing_is_asked_for(self, opened: Callable[[], PostgresJournal]) -> None:
        assert isinstance(open_pacer(opened(), ()), Pacer)

    def test_a_journal_in_a_file_has_a_pacer_of_its_own(self) -> None:
        with SqliteJournal() as journal:
            assert isinstance(open_pacer(journal, parse_rate("1/second")), Pacer)

    def test_a_new_rate_begins_with_the_journals_posts(
        self, opened: Callable[[], PostgresJournal], url: JournalUrl
    ) -> None:
        """Also one that was sent without a rate, or at another one; a clock that was ahead counts as now."""
        ((now,),) = ask(url, "SELECT extract(epoch FROM clock_timestamp())::float8")
        journal = opened()
        times = [now - 90_000, now - 4000, now - 3000, now - 3000, now + 1e6]
        journal.commit([Intent(key=str(n), digest="d", time=at) for n, at in enumerate(times)], [])
        for rate, left in (("5/hour", 2), ("10/day", 6)):
            with closing(open_pacer(journal, parse_rate(rate))) as pacer:
                assert take(pacer, 100) == left
                assert pacer.next_at(7.0) == 7.0
                assert take(pacer, 100) == 0
                assert pacer.waiting_for(0.0) == parse_rate(rate)[0]
                assert pacer.next_at(0.0) > 500

    def test_a_pace_goes_on_from_the_last_post(self, opened: Callable[[], PostgresJournal], url: JournalUrl) -> None:
        ((now,),) = ask(url, "SELECT extract(epoch FROM clock_timestamp())::float8")
        journal = opened()
        journal.commit([Intent(key=str(n), digest="d", time=now - 20) for n in range(3)], [])
        with closing(open_pacer(journal, parse_rate("3/minute"))) as pacer:
            assert take(pacer, 100) == 0
            assert 30 < pacer.next_at(0.0) < 61
            assert pacer.waiting_for(0.0) == Limit(3, 60.0)


# The server goes away


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL that a test may kill."""
    running = Server()
    yield running
    running.close()


class Noting:
    """A clock that knows when it was looked at last: when a permit was spent."""

    def __init__(self) -> None:
        self.looked = 0

    def __call__(self) -> int:
        self.looked = boot_time()
        return self.looked

    def take_until(self, pacer: Pacing, count: int) -> list[int]:
        """When so many permits were spent."""
        spent: list[int] = []
        while len(spent) < count:
            granted = take(pacer, 5)
            spent += [self.looked] * granted
            time.sleep(min(pacer.next_at(0.0), 0.1))
        return spent


class TestServer:
    def test_a_killed_one_that_comes_back_costs_a_pause(self, server: Server) -> None:
        """Who takes goes on, beneath the rate, and has counted what the server may have forgotten."""
        rate, clock = Rate(limits := parse_rate("100/second, 1000/hour"), 0.0), Noting()
        place = journal_place(server.url)
        assert isinstance(place, JournalUrl)
        with open_journal(place, NAME) as journal:
            assert isinstance(journal, PostgresJournal)
            assert journal.join(rate.values) is None
            with closing(SharedRate(journal, rate, clock=clock)) as pacer:
                assert pacer._connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
                spent = clock.take_until(pacer, 50)
                server.kill()
                starting = threading.Thread(target=server.start)
                starting.start()
                spent += clock.take_until(pacer, 100)
                starting.join()
                assert pacer._connection.execute("SHOW synchronous_commit").fetchone() == ("off",)
            assert ask(place, "SELECT sum(count) >= 150 FROM turbobatch_quota") == [(True,)]
        assert_ceiling(spent, limits)

    def test_one_that_stays_away_ends_the_run(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """With the journal's error, once patience is over."""
        monkeypatch.setenv("TURBOBATCH_LEASE", "1")
        limits = parse_rate("100/second")
        with open_journal(journal_place(server.url), NAME) as journal, closing(open_pacer(journal, limits)) as pacer:
            server.kill()
            with pytest.raises(JournalError, match="can't be reached") as caught:
                Noting().take_until(pacer, 10**9)
            assert "\n" not in str(caught.value)
