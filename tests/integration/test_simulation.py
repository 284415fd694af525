"""Thousands of campaigns on a simulated server, with faults and crashes anywhere: never twice, never lost."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from turbobatch.engine import Engine
from turbobatch.feed import Feed, Preparation
from turbobatch.journal import SqliteJournal
from turbobatch.merge import MailMerge
from turbobatch.policy import Policy, Status
from turbobatch.rates import Limit, Pacer
from turbobatch.results import Results
from turbobatch.sendapi import V2, Response, VerdictKind, judge
from turbobatch.testing import (
    FakeClock,
    FakeTransport,
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
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from turbobatch.engine import FeedItem, RunEvent
    from turbobatch.journal import Intent, Outcome
    from turbobatch.results import RowVerdict
    from turbobatch.sendapi import Request
    from turbobatch.testing import Answer
    from turbobatch.transport import Completion, Job

COLUMNS = ("id", "email")
MERGER = MailMerge(from_="shop@acme.example", to="{{ email }}", subject="Receipt {{ id }}", text="Hello {{ id }}").bind(
    COLUMNS
)
API = V2("https://api.example", "k", "s")
SUPPRESSED = {"gone@example.org": "unsubscribed"}
SURELY_NOT_ACCEPTED = (Status.PENDING, Status.FAILED, Status.REJECTED, Status.INVALID, Status.SUPPRESSED)
FINAL = {Status.SENT, Status.IN_DOUBT, Status.REJECTED, Status.INVALID, Status.DUPLICATE, Status.SUPPRESSED}


class CrashError(BaseException):
    """The process is gone."""


@dataclass
class ListChunk:
    start: int
    cells: list[tuple[Any, ...]]

    def __len__(self) -> int:
        return len(self.cells)

    def rows(self) -> list[tuple[Any, ...]]:
        return self.cells

    def column(self, name: str) -> list[Any]:
        return [row[COLUMNS.index(name)] for row in self.cells]

    def line(self, index: int) -> int | None:  # noqa: ARG002 - the signature is every chunk's
        return None

    def frame(self) -> pd.DataFrame:
        raise NotImplementedError


@dataclass
class ListTable:
    """A table without a file or a DataFrame: thousands of them are read here."""

    cells: list[tuple[Any, ...]]
    name: str = "the table"
    columns: tuple[str, ...] = COLUMNS
    warnings: tuple[str, ...] = ()
    version: None = None

    def chunks(self, size: int = 5000) -> Iterator[ListChunk]:
        for start in range(0, len(self.cells), size):
            yield ListChunk(start, self.cells[start : start + size])

    def where(self, row: int, line: int | None = None) -> str:  # noqa: ARG002 - the signature is every table's
        return f"row {row}"


@dataclass
class Fuse:
    """Burns at every step of a run and ends it after some; never, without a number of steps."""

    steps: int | None = None

    def burn(self) -> None:
        if self.steps is not None:
            self.steps -= 1
            if self.steps < 0:
                raise CrashError


class CrashingTransport(FakeTransport):
    """Crashes between any two POSTs, and between an answer and whoever waits for it."""

    fuse = Fuse()
    most_in_flight = 0

    def submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:
            self.fuse.burn()
            super().submit([job])
            self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def poll(self, timeout: float) -> list[Completion]:
        self.fuse.burn()
        found = super().poll(timeout)
        self.fuse.burn()
        return found


class CrashingJournal(SqliteJournal):
    """Crashes before and after each commit; what was committed stays."""

    fuse = Fuse()

    def commit(self, intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> None:
        self.fuse.burn()
        super().commit(intents, outcomes)
        self.fuse.burn()


@dataclass
class World:
    """One campaign's table, its server with a ledger of its own, and what happened so far."""

    seed: int
    clock: FakeClock = field(default_factory=FakeClock)
    journal: CrashingJournal = field(default_factory=CrashingJournal)
    accepted: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)
    may_be_in_doubt: int = 0
    resent: Counter[str] = field(default_factory=Counter)  # runs that posted what was in doubt, on demand

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311 - a simulation
        self.table = ListTable([self.row(number) for number in range(self.dice.randint(1, 30))])
        self.layout = Layout(COLUMNS, self.dice.choice([("id",), ()]))
        limits: list[list[Limit]] = [[], [Limit(5, 1.0)], [Limit(4, 1.0), Limit(10, 90.0)]]
        self.limits = self.dice.choice(limits)
        self.trouble = self.dice.choice([0.0, 0.1, 0.4, 0.9])

    def row(self, number: int) -> tuple[Any, ...]:
        key = self.dice.choices([str(number), "0", None], [20, 1, 1])[0]
        address = self.dice.choices([f"p{number}@example.org", "broken@@", "gone@example.org", None], [20, 1, 1, 1])[0]
        return key, address

    def answer(self, request: Request) -> Answer:
        """What the server does, and what comes back of it: two things."""
        fields = fields_of(request)
        key = fields["reference_id"]
        if self.dice.random() < self.trouble:
            return self.mishap(key)
        if fields["subject"].endswith("7"):
            return refused("'x' 'to' email not valid")
        self.accepted[key] += 1
        return ok(mid=sum(self.accepted.values()))

    def mishap(self, key: str) -> Answer:
        unsent: list[Answer] = [
            no_connection(),
            throttled(self.dice.randint(0, 3)),
            throttled(),
            Response(404, {}, b""),
        ]
        doubtful: list[Answer] = [
            no_answer(),
            Response(500, {}, b""),
            Response(200, {}, b'{"message":'),
            Response(503, {}, b""),
        ]
        fatal: list[Answer] = [
            bad_credentials(),
            refused("nocredit"),
            Response(302, {"location": "https://x.example"}, b""),
        ]
        answer = self.dice.choice(self.dice.choices([unsent, doubtful, fatal], [10, 6, 1])[0])
        if judge(answer).kind is VerdictKind.IN_DOUBT:
            self.may_be_in_doubt += 1
            self.accepted[key] += self.dice.random() < 0.5
        return answer

    def run(self, *, steps: int | None, resend: bool = False, limit: int | None = None) -> None:
        """One process's life: to its end, or to a crash after so many steps."""
        concurrency = self.dice.choice([1, 2, 5, 16])
        fuse = self.journal.fuse = Fuse(steps)
        transport = CrashingTransport(self.answer, latency=lambda _: self.dice.uniform(0.01, 4.0), clock=self.clock)
        transport.fuse = fuse
        feed = Feed(
            table=self.table,
            layout=self.layout,
            prepare=Preparation(campaign="c", merger=MERGER, api=API, suppressed=SUPPRESSED),
            journal=self.journal,
            resend=resend,
            limit=limit,
        )
        doubted = {entry.key for entry in self.journal.entries(Status.IN_DOUBT)}
        engine = Engine(
            feed=burning(iter(feed), fuse),
            journal=self.journal,
            transport=transport,
            pacer=Pacer(self.limits),
            concurrency=concurrency,
            clock=self.clock,
            policy=Policy(patience=30.0),
            emit=lambda event: self.hear(event, fuse),
            dice=self.dice,
        )
        try:
            engine.run()
        except CrashError:
            self.may_be_in_doubt += concurrency
        self.journal.fuse = Fuse()
        self.times += transport.times
        posted = {fields["reference_id"] for fields in transport.requests}
        assert resend or not posted & doubted, "what was in doubt went out unasked"
        self.resent.update(posted & doubted)
        assert transport.most_in_flight <= concurrency
        self.clock.advance(self.dice.uniform(0.0, 2.0))

    def hear(self, event: RunEvent, fuse: Fuse) -> None:
        key = getattr(event, "key", None)
        status = getattr(event, "status", None)
        if key is not None and status not in (None, Status.DUPLICATE):
            assert self.journal.lookup([key])[key].status is status
        fuse.burn()

    def check(self) -> None:
        """What must be true at any moment, whatever happened before."""
        counts = Counter(self.journal.counts())
        assert counts[Status.IN_DOUBT] <= self.may_be_in_doubt
        for key, count in self.accepted.items():
            assert count <= 1 + self.resent[key], f"{key} was accepted {count} times"
        for verdict in self.verdicts():
            status, key = verdict.send_status, verdict.send_key or ""
            if status is Status.SENT:
                assert self.accepted[key], f"{key} counts as sent and never arrived"
            if status in SURELY_NOT_ACCEPTED:
                assert not self.accepted[key], f"{key} counts as {status} and arrived"
        for limit in self.limits:
            for first, beyond in zip(self.times, self.times[limit.count :], strict=False):
                assert beyond - first >= limit.period - 1e-6, "the rate was exceeded"

    def verdicts(self) -> list[RowVerdict]:
        results = Results(table=self.table, layout=self.layout, merger=MERGER, journal=self.journal)
        found = list(results.verdicts())
        assert len(found) == len(self.table.cells)
        return found

    def statuses(self) -> list[Status]:
        return [verdict.send_status for verdict in self.verdicts()]


def burning(feed: Iterator[FeedItem], fuse: Fuse) -> Iterator[FeedItem]:
    for item in feed:
        fuse.burn()
        yield item


@pytest.mark.parametrize("block", range(20))
def test_never_twice_never_lost(block: int) -> None:
    """Runs with faults that crash or end early, then one in good weather: every row has its true, final status."""
    for seed in range(block * 50, block * 50 + 50):
        world = World(seed)
        try:
            for _ in range(world.dice.randint(1, 4)):
                world.run(
                    steps=world.dice.choice([None, world.dice.randint(0, 120), world.dice.randint(0, 20)]),
                    resend=world.dice.random() < 0.25,
                    limit=world.dice.choice([None, None, 3]),
                )
                world.check()
            world.trouble = 0.0
            world.run(steps=None)
            world.check()
            assert set(world.statuses()) <= FINAL
            world.run(steps=None)
            world.check()
        except AssertionError as error:
            error.add_note(f"in the world with seed {seed}")
            raise
        finally:
            world.journal.close()


def test_the_simulation_has_seen_trouble() -> None:
    """The worlds above are none of endless sunshine: every status and many an early end occur in them."""
    seen: Counter[Status] = Counter()
    resent = 0
    for seed in range(100):
        world = World(seed)
        world.trouble = 0.5
        world.run(steps=world.dice.randint(0, 200))
        seen.update(world.statuses())
        world.run(steps=None, resend=True)
        seen.update(world.statuses())
        resent += len(world.resent)
        world.journal.close()
    assert set(seen) == set(Status)
    assert resent > 100
