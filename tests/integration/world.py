"""A campaign on a simulated server and clock, whose process may end at any step; the engine and journal are real."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from turbobatch.engine import Control, Engine
from turbobatch.feed import Feed, Preparation
from turbobatch.journal import SqliteJournal
from turbobatch.merge import MailMerge
from turbobatch.policy import Policy, Status
from turbobatch.rates import Pacer
from turbobatch.results import Results
from turbobatch.sendapi import V2
from turbobatch.testing import FakeClock, FakeTransport

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from turbobatch.engine import FeedItem
    from turbobatch.events import RunEvent
    from turbobatch.journal import Entry, Intent, Outcome
    from turbobatch.policy import StopReason
    from turbobatch.rates import Limit, Window
    from turbobatch.results import RowVerdict
    from turbobatch.sendapi import Request
    from turbobatch.testing import Answer
    from turbobatch.transport import Completion, Job
    from turbobatch.units import Layout

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

    @property
    def about(self) -> int:
        return len(self.cells)

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


class DozingTransport(CrashingTransport):
    """Wakes ever later while nothing happens, as a machine that falls asleep: a day's wait takes few steps."""

    _idle = 0

    def poll(self, timeout: float) -> list[Completion]:
        found = super().poll(timeout * 2 ** min(self._idle // 2, 15))
        self._idle = 0 if found else self._idle + 1
        return found


class CrashingJournal(SqliteJournal):
    """Crashes before and after each commit; what was committed stays."""

    fuse = Fuse()

    def _take(self, path: Path) -> None:
        super()._take(path)
        self._db.execute(
            "PRAGMA synchronous = OFF"
        )  # a kill undoes nothing that is written; that takes a loss of power

    def commit(self, intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> Mapping[str, Entry]:
        self.fuse.burn()
        taken = super().commit(intents, outcomes)
        self.fuse.burn()
        return taken

    def left_behind(self, folder: Path) -> CrashingJournal:
        """Open what a kill at this moment would leave, in a new folder; this one is of no use any more."""
        assert self.path is not None
        assert self._mark is not None
        folder.mkdir()
        for path in self.path.parent.glob(f"{self.path.name}*"):
            shutil.copyfile(path, folder / path.name)
            (folder / path.name).chmod(0o600)
        self._db.close()
        os.close(self._mark._handle)
        shutil.rmtree(self.path.parent)
        return CrashingJournal(folder / self.path.name, self.campaign)


@dataclass(frozen=True)
class Played:
    """What came of a run: the keys it posted in order, whether it crashed, and else why it ended early."""

    posted: tuple[str, ...]
    crashed: bool
    stop_reason: StopReason | None


@dataclass
class World:
    """One campaign's table, its server with a ledger of its own, and what happened so far."""

    table: ListTable
    layout: Layout
    limits: Sequence[Limit]
    clock: FakeClock = field(default_factory=FakeClock)
    journal: CrashingJournal = field(default_factory=CrashingJournal)
    accepted: Counter[str] = field(default_factory=Counter)
    times: list[float] = field(default_factory=list)

    def play(
        self,
        *,
        answer: Callable[[Request], Answer],
        latency: Callable[[Request], float],
        concurrency: int,
        dice: random.Random,
        fuse: Fuse,
        resend: bool = False,
        limit: int | None = None,
        window: Window | None = None,
        control: Control | None = None,
    ) -> Played:
        """One process's life: to its end, or to where the fuse ends it."""
        self.journal.fuse = fuse
        transport = DozingTransport(answer, latency=latency, clock=self.clock)
        transport.fuse = fuse
        feed = Feed(
            table=self.table,
            layout=self.layout,
            prepare=Preparation(campaign="c", merger=MERGER, api=API, suppressed=SUPPRESSED),
            journal=self.journal,
            resend=resend,
            limit=limit,
        )
        engine = Engine(
            feed=burning(iter(feed), fuse),
            journal=self.journal,
            transport=transport,
            pacer=Pacer(self.limits),
            concurrency=concurrency,
            window=window,
            clock=self.clock,
            policy=Policy(patience=30.0),
            control=control or Control(),
            emit=lambda event: self.hear(event, fuse),
            dice=dice,
        )
        crashed = False
        try:
            engine.run()
        except CrashError:
            crashed = True
        self.journal.fuse = Fuse()
        self.times += transport.times
        assert transport.most_in_flight <= concurrency
        posted = tuple(fields["reference_id"] for fields in transport.requests)
        return Played(posted, crashed, engine.stop_reason)

    def hear(self, event: RunEvent, fuse: Fuse) -> None:
        key = getattr(event, "key", None)
        status = getattr(event, "status", None)
        if key is not None and status not in (None, Status.DUPLICATE):
            assert self.journal.lookup([key])[key].status is status
        fuse.burn()

    def keys(self, status: Status) -> set[str]:
        """The keys that the journal has with this status."""
        return {entry.key for entry in self.journal.entries(status)}

    def verdicts(self) -> list[RowVerdict]:
        results = Results(table=self.table, layout=self.layout, merger=MERGER, journal=self.journal)
        found = list(results.verdicts())
        assert len(found) == len(self.table.cells)
        return found

    def statuses(self) -> list[Status]:
        return [verdict.send_status for verdict in self.verdicts()]

    def check_rate(self) -> None:
        """No sliding window holds more POSTs than its limit."""
        for limit in self.limits:
            for first, beyond in zip(self.times, self.times[limit.count :], strict=False):
                assert beyond - first >= limit.period - 1e-6, "the rate was exceeded"


def burning(feed: Iterable[FeedItem], fuse: Fuse) -> Iterator[FeedItem]:
    for item in feed:
        fuse.burn()
        yield item
