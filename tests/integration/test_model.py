"""Any history of runs, kills, faults, changed tables and settlements by hand: never twice, never lost, never too fast.

A model of the vendor and the user beside the real feed, engine and journal: what hypothesis finds, it shrinks.
"""

from __future__ import annotations

import itertools
import random
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.integration.world import (
    COLUMNS,
    FINAL,
    SURELY_NOT_ACCEPTED,
    CrashingJournal,
    Fuse,
    ListTable,
    World,
)
from turbobatch.engine import Control
from turbobatch.errors import CampaignError
from turbobatch.policy import Status
from turbobatch.rates import Window, parse_rate
from turbobatch.sendapi import Response, VerdictKind, judge
from turbobatch.settlement import settle_by_hand
from turbobatch.testing import (
    FakeClock,
    bad_credentials,
    fields_of,
    no_answer,
    no_connection,
    ok,
    refused,
    throttled,
)
from turbobatch.units import Layout

if TYPE_CHECKING:
    from tests.integration.world import Played
    from turbobatch.sendapi import Request
    from turbobatch.testing import Answer

    Row = tuple[Any, ...]

pytestmark = pytest.mark.unmeasured

REFUSALS: dict[str, Answer] = {
    "refused": refused("'x' 'to' email not valid"),
    "too large": Response(413, {}, b""),
    "no connection": no_connection(),
    "not found": Response(404, {}, b""),
    "throttled": throttled(),
    "throttled for 100 s": throttled(100),
    "wrong credentials": bad_credentials(),
    "no credit": refused("nocredit"),
    "redirect": Response(302, {"location": "https://x.example"}, b""),
}
DOUBTS: dict[str, Answer] = {
    "no answer": no_answer(),
    "unavailable": Response(503, {}, b""),
    "garbage": Response(200, {}, b'{"message":'),
    "see other": Response(303, {"location": "https://x.example"}, b""),
}
ANSWERS: dict[str, Answer] = {"OK": ok(mid=1)} | REFUSALS | DOUBTS


@dataclass(frozen=True)
class Fate:
    """What becomes of a POST: two things."""

    answer: str
    taken: bool


WELL = Fate("OK", taken=True)
UNREACHABLE = Fate("no connection", taken=False)

rows = st.tuples(
    st.one_of(st.integers(0, 12).map(str), st.sampled_from([None, " 3 "])),
    st.one_of(
        st.integers(0, 12).map("p{}@example.org".format), st.sampled_from(["broken@@", "gone@example.org", None])
    ),
)
fates = st.one_of(
    st.just(WELL),
    st.sampled_from(list(REFUSALS)).map(lambda name: Fate(name, taken=False)),
    st.builds(Fate, st.sampled_from(list(DOUBTS)), st.booleans()),
)
rates = st.lists(
    st.builds("{}/{}".format, st.integers(1, 20), st.sampled_from(["second", "5 seconds", "minute", "hour", "day"])),
    max_size=3,
).map(", ".join)
moments = st.one_of(st.integers(0, 30), st.integers(0, 200))  # steps into a run
places = st.integers(0, 100)


@dataclass(frozen=True)
class Life:
    """What a run meets: new rows, the first POSTs' fates, seconds until answers come, and the step that kills it."""

    new_rows: int
    weather: list[Fate]
    slowness: list[float]
    concurrency: int
    killed_at: int | None


lives = st.builds(
    Life,
    st.integers(0, 12),
    st.lists(fates, max_size=12),
    st.lists(st.sampled_from([0.01, 0.3, 4.0, 70.0]), min_size=1, max_size=3),
    st.sampled_from([1, 2, 5, 16]),
    st.one_of(st.none(), moments),
)


class WallClock(FakeClock):
    """Its time of day can be set; what it has seen go by stays."""

    ahead = 0.0

    def time(self) -> float:
        return super().time() + self.ahead


@dataclass
class Script(Fuse):
    """A run's steps, at which it may be killed, paused for some and stopped."""

    pause_at: int | None = None
    resume_at: int | None = None
    stop_at: int | None = None
    control: Control = field(default_factory=Control, init=False)
    passed: int = field(default=0, init=False)

    def burn(self) -> None:
        if self.passed == self.pause_at:
            self.control.pause.set()
        if self.passed == self.resume_at:
            self.control.pause.clear()
        if self.passed == self.stop_at:
            self.control.stop.set()
        self.passed += 1
        super().burn()


class Campaigns(RuleBasedStateMachine):
    """One campaign's life."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="turbobatch-model-"))
        self.kills = itertools.count()
        self.numbers = itertools.count(100)
        self.clock = WallClock()
        self.outage = False
        self.permits: Counter[str] = Counter()  # POSTs that the user asked for although one is in doubt
        self.believed: Counter[str] = Counter()  # emails accepted since the user last said that there is none
        self.called_sent: set[str] = set()

    @initialize(
        count=st.integers(0, 40), cells=st.lists(rows, max_size=8), key=st.sampled_from([("id",), ()]), rate=rates
    )
    def begin(self, count: int, cells: list[Row], key: tuple[str, ...], rate: str) -> None:
        folder = self.folder / "first"
        folder.mkdir()
        self.world = World(
            table=ListTable([*self.new_rows(count), *cells]),
            layout=Layout(COLUMNS, key),
            limits=parse_rate(rate or None),
            clock=self.clock,
            journal=CrashingJournal(folder / "c.journal.db", "c"),
        )

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.journal.close()
        shutil.rmtree(self.folder)

    # The table and the time

    @rule(count=st.integers(1, 20), place=places)
    def add_new(self, count: int, place: int) -> None:
        place %= len(self.cells) + 1
        self.cells[place:place] = self.new_rows(count)

    @rule(row=rows, place=places)
    def add(self, row: Row, place: int) -> None:
        self.cells.insert(place % (len(self.cells) + 1), row)

    @precondition(lambda self: self.cells)
    @rule(place=places)
    def remove(self, place: int) -> None:
        del self.cells[place % len(self.cells)]

    @precondition(lambda self: self.cells)
    @rule(place=places, to=places)
    def move(self, place: int, to: int) -> None:
        row = self.cells.pop(place % len(self.cells))
        self.cells.insert(to % (len(self.cells) + 1), row)

    @precondition(lambda self: self.cells)
    @rule(place=places, new=rows, column=st.sampled_from([0, 1]))
    def edit(self, place: int, new: Row, column: int) -> None:
        row = list(self.cells[place % len(self.cells)])
        row[column] = new[column]
        self.cells[place % len(self.cells)] = tuple(row)

    @rule(seconds=st.sampled_from([0.1, 1.0, 59.0, 3600.0, 86400.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @rule(seconds=st.sampled_from([0.5, 30.0, 3600.0, 100_000.0]))
    def put_clock_back(self, seconds: float) -> None:
        self.clock.ahead -= seconds

    @rule(seconds=st.sampled_from([0.5, 30.0, 3600.0, 100_000.0]))
    def put_clock_on(self, seconds: float) -> None:
        """To the campaign that time has gone by, and nothing can tell it otherwise."""
        self.clock.ahead += seconds
        self.world.times.clear()

    @rule()
    def begin_or_end_outage(self) -> None:
        self.outage = not self.outage

    # Runs

    @rule(life=lives, resend=st.booleans())
    def run(self, life: Life, *, resend: bool) -> None:
        played = self.play(life, resend=resend)
        if not played.crashed and played.stop_reason is None:
            assert Status.PENDING not in self.world.statuses()

    @rule(life=lives, limit=st.integers(1, 5))
    def run_some(self, life: Life, limit: int) -> None:
        assert len(set(self.play(life, limit=limit).posted)) <= limit

    @rule(life=lives, at=moments, steps=st.integers(1, 60))
    def run_and_pause(self, life: Life, at: int, steps: int) -> None:
        self.play(life, pause_at=at, resume_at=at + steps)

    @rule(life=lives, at=moments)
    def run_and_stop(self, life: Life, at: int) -> None:
        self.play(life, stop_at=at)

    @rule(life=lives, minutes=st.integers(0, 1))
    def run_while_the_window_shuts(self, life: Life, minutes: int) -> None:
        """It is shut for one minute of the day: this one, or the next."""
        shuts = datetime.fromtimestamp(self.clock.time(), UTC) + timedelta(minutes=minutes)
        self.play(life, window=Window.parse(f"{shuts + timedelta(minutes=1):%H:%M}-{shuts:%H:%M} UTC"))

    @rule(concurrency=st.integers(1, 16))
    def run_in_good_weather(self, concurrency: int) -> None:
        """Every row gets its final status, and another run has nothing to do."""
        self.outage = False
        life = Life(0, [], [0.1], concurrency, None)
        self.play(life)
        assert set(self.world.statuses()) <= FINAL
        assert self.play(life).posted == ()

    # What the user says of emails in doubt

    @precondition(lambda self: self.keys(Status.IN_DOUBT, Status.REJECTED))
    @rule(data=st.data(), status=st.sampled_from([Status.SENT, Status.PENDING]))
    def settle(self, data: st.DataObject, status: Status) -> None:
        doubted = self.keys(Status.IN_DOUBT)
        known = doubted | (self.keys(Status.REJECTED) if status is Status.PENDING else set())
        choices = st.lists(st.sampled_from(sorted(known)), unique=True) if known else st.just([])
        keys = data.draw(st.one_of(st.none(), choices), label="keys")
        assert settle_by_hand(self.world.journal, status, keys) == len(doubted if keys is None else keys)
        for key in doubted if keys is None else doubted & set(keys):
            if status is Status.SENT:
                self.called_sent.add(key)
            else:
                self.permits[key] += 1
                self.believed[key] = 0

    @precondition(lambda self: self.keys(Status.SENT))
    @rule(data=st.data(), status=st.sampled_from([Status.SENT, Status.PENDING]))
    def settle_what_is_sent(self, data: st.DataObject, status: Status) -> None:
        key = data.draw(st.sampled_from(sorted(self.keys(Status.SENT))), label="key")
        with pytest.raises(CampaignError, match="not in doubt"):
            settle_by_hand(self.world.journal, status, [key])

    # What must be true

    @invariant()
    def it_never_sends_twice(self) -> None:
        for key, count in self.world.accepted.items():
            assert count <= 1 + self.permits[key], f"{key} was accepted {count} times"

    @invariant()
    def it_never_loses_one(self) -> None:
        """The rows' statuses, and the journal's own where rows have left the table, agree with the vendor's ledger."""
        for verdict in self.world.verdicts():
            self.check_truth(verdict.send_key or "", verdict.send_status)
        for status in Status:
            for key in self.keys(status):
                self.check_truth(key, status)
        told = self.keys(Status.SENT, Status.IN_DOUBT)
        assert {key for key, count in self.believed.items() if count} <= told

    @invariant()
    def it_keeps_the_rate(self) -> None:
        self.world.check_rate()

    def check_truth(self, key: str, status: Status) -> None:
        if status is Status.SENT:
            assert self.believed[key] or key in self.called_sent, f"{key} counts as sent and never arrived"
        if status in SURELY_NOT_ACCEPTED:
            assert not self.believed[key], f"{key} counts as {status} and arrived"

    # How a run is played

    def new_rows(self, count: int) -> list[Row]:
        return [(str(number), f"p{number}@example.org") for number in itertools.islice(self.numbers, count)]

    @property
    def cells(self) -> list[Row]:
        return self.world.table.cells

    def keys(self, *statuses: Status) -> set[str]:
        return set().union(*map(self.world.keys, statuses))

    def play(
        self,
        life: Life,
        *,
        resend: bool = False,
        limit: int | None = None,
        window: Window | None = None,
        **interruptions: int,
    ) -> Played:
        """One process's life. Once the weather is over, each POST goes well, or in an outage none."""
        self.cells.extend(self.new_rows(life.new_rows))
        script = Script(life.killed_at, **interruptions)
        coming = itertools.chain(life.weather, itertools.repeat(UNREACHABLE if self.outage else WELL))
        slow = itertools.cycle(life.slowness)
        unclear: set[str] = set()
        sent, doubted = self.keys(Status.SENT), self.keys(Status.IN_DOUBT)

        def answer(request: Request) -> Answer:
            key, fate = fields_of(request)["reference_id"], next(coming)
            known = self.world.journal.lookup([key]).get(key)
            assert known is not None, "a POST began before its intent was durable"
            assert known.status is Status.IN_DOUBT, f"a POST began of what is {known.status}"
            assert window is None or window.is_open(datetime.fromtimestamp(self.clock.time(), UTC))
            self.world.accepted[key] += fate.taken
            self.believed[key] += fate.taken
            if judge(ANSWERS[fate.answer]).kind is VerdictKind.IN_DOUBT:
                unclear.add(key)
            return ANSWERS[fate.answer]

        played = self.world.play(
            answer=answer,
            latency=lambda _: next(slow),
            concurrency=life.concurrency,
            dice=random.Random(0),  # noqa: S311 - a simulation
            fuse=script,
            resend=resend,
            limit=limit,
            window=window,
            control=script.control,
        )
        self.restart(killed=played.crashed)
        posted, still = set(played.posted), self.keys(Status.IN_DOUBT)
        self.permits.update(posted & doubted)
        assert not posted & sent, "what was sent went out again"
        assert resend or not posted & doubted, "what was in doubt went out unasked"
        assert sent <= self.keys(Status.SENT)
        assert doubted - still <= posted & self.keys(Status.SENT), "a doubt went without an OK"
        assert len(still - doubted - unclear) <= (life.concurrency if played.crashed else 0)
        return played

    def restart(self, *, killed: bool) -> None:
        journal = self.world.journal
        if killed:
            self.world.journal = journal.left_behind(self.folder / f"after-kill-{next(self.kills)}")
            return
        journal.close()
        assert journal.path is not None
        self.world.journal = CrashingJournal(journal.path, "c")


TestCampaigns = Campaigns.TestCase
TestCampaigns.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
