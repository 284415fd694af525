"""Each part of the way of a row alone, so that a regression shows where it is: `make bench BENCH='--only parts'`."""

from __future__ import annotations

from collections import deque
from itertools import count
from typing import TYPE_CHECKING, Any

import pytest

from benchmarks.workload import COLUMNS, RECEIPT, rows, write_csv, write_parquet
from turbobatch.engine import Candidate, Engine
from turbobatch.feed import Feed, Preparation
from turbobatch.journal import Intent, Outcome
from turbobatch.journal.sqlite import SqliteJournal
from turbobatch.merge import MailMerge
from turbobatch.policy import Status
from turbobatch.rates import Pacer, parse_rate
from turbobatch.recipients import open_table
from turbobatch.sendapi import V1, V2, SendApi
from turbobatch.testing import ok
from turbobatch.transport import Completion
from turbobatch.units import Layout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pytest_benchmark.fixture import BenchmarkFixture

    from turbobatch.merge import Merger
    from turbobatch.transport import Job

ROWS = 500
ROUNDS = 20
GROUP = 256  # rows that are committed at once

APIS: dict[str, SendApi] = {
    "v1": V1("https://api.example/api", "user", "pass"),
    "v2": V2("https://api.example/api/v2", "key", "secret"),
}


class Null:
    """A Transport whose answers are there at once."""

    def __init__(self) -> None:
        self._done: deque[Completion] = deque()
        self._answer = ok(mid=1_688_566_310_828_572_700)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Answer them."""
        self._done.extend(Completion(job.number, self._answer, 0.0) for job in jobs)

    def poll(self, timeout: float) -> list[Completion]:  # noqa: ARG002 - nothing to wait for
        """Give the answers out."""
        found = list(self._done)
        self._done.clear()
        return found

    def close(self) -> None:
        """Nothing to close."""


def measure(
    benchmark: BenchmarkFixture,
    what: str,
    work: Callable[..., object],
    *,
    of: int = ROWS,
    setup: Callable[[], tuple[tuple[Any, ...], dict[str, Any]]] | None = None,
) -> None:
    """Time `work`, which does `of` rows; `setup` makes its arguments anew each time."""
    benchmark.extra_info |= {"what": what, "of": of}
    benchmark.pedantic(work, setup=setup, rounds=ROUNDS, warmup_rounds=1)


@pytest.fixture
def merger() -> Merger:
    """The receipts' templates, bound to their columns."""
    return mail_merge().bind(COLUMNS)


def mail_merge() -> MailMerge:
    """The receipts' templates."""
    return MailMerge(
        from_="Acme Receipts <receipts@acme.example>",
        to="{{ name }} <{{ email }}>",
        subject="Your Acme receipt {{ order_id }}",
        text=RECEIPT / "receipt.txt",
        html=RECEIPT / "receipt.html",
        folder=RECEIPT,
    )


def test_read_csv(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """A CSV file's cells."""
    path = tmp_path / "table.csv"
    write_csv(path, ROWS * 10)
    measure(benchmark, "CSV", lambda: sum(len(chunk.rows()) for chunk in open_table(path).chunks()), of=ROWS * 10)


def test_read_parquet(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """A Parquet file's cells."""
    path = tmp_path / "table.parquet"
    write_parquet(path, ROWS * 10)
    measure(benchmark, "Parquet", lambda: sum(len(chunk.rows()) for chunk in open_table(path).chunks()), of=ROWS * 10)


def test_merge(benchmark: BenchmarkFixture, merger: Merger) -> None:
    """A row's email from its cells."""
    table = list(rows(ROWS))
    assert all(merger.merge(row).email for row in table)
    measure(benchmark, "merge", lambda: [merger.merge(row) for row in table])


@pytest.mark.parametrize("api", APIS)
def test_encode(benchmark: BenchmarkFixture, merger: Merger, api: str) -> None:
    """An email's request."""
    emails = [email for row in rows(ROWS) if (email := merger.merge(row).email)]
    measure(benchmark, f"encode {api}", lambda: [APIS[api].request(email) for email in emails])


@pytest.mark.parametrize("group", [1, 16, GROUP])
def test_journal(benchmark: BenchmarkFixture, tmp_path: Path, group: int) -> None:
    """Intents and outcomes on the disk, so many rows at once."""
    files = count()

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        return (SqliteJournal(tmp_path / f"{next(files)}.db"),), {}

    def work(journal: SqliteJournal) -> None:
        outcomes: list[Outcome] = []
        for start in range(0, GROUP, group):
            keys = [f"{number:07}" for number in range(start, start + group)]
            journal.commit([Intent(key=key, digest="0" * 32, time=1.0) for key in keys], outcomes)
            outcomes = [
                Outcome(key=key, status=Status.SENT, message="OK", time=2.0, posted=True, http_status=200, seconds=0.1)
                for key in keys
            ]
        journal.commit([], outcomes)
        assert journal.counts() == {Status.SENT: GROUP}
        journal.close()

    measure(benchmark, f"journal, {group} at once", work, of=GROUP, setup=setup)


def test_journal_lookup(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    """What the journal knows of keys that were sent."""
    keys = [f"{number:07}" for number in range(ROWS)]
    with SqliteJournal(tmp_path / "journal.db") as journal:
        journal.commit([Intent(key=key, digest="0" * 32, time=1.0) for key in keys], [])
        measure(benchmark, "journal look-up", lambda: journal.lookup(keys))


def test_rates(benchmark: BenchmarkFixture) -> None:
    """Permits of two limits at once."""

    def work() -> None:
        pacer = Pacer(parse_rate("1000/second, 1000000/day"))
        granted = sum(pacer.take(number / 1000, 1) for number in range(ROWS))
        assert granted >= ROWS * 0.99

    measure(benchmark, "rate", work)


def test_engine(benchmark: BenchmarkFixture, merger: Merger) -> None:
    """The loop with requests that are ready, a journal in memory and a transport that answers at once."""
    ready = [
        Candidate(number, 1, f"{number:07}", merged.digest or "", APIS["v2"].request(merged.email))
        for number, merged in enumerate(map(merger.merge, rows(ROWS)))
        if merged.email
    ]
    measure(benchmark, "engine", run_to_end, setup=lambda: ((engine_of(iter(ready)),), {}))


@pytest.mark.parametrize("api", APIS)
def test_feed_and_engine(benchmark: BenchmarkFixture, tmp_path: Path, api: str) -> None:
    """All of it but the transport, from the CSV file to a journal in memory."""
    path = tmp_path / "table.csv"
    write_csv(path, ROWS)
    table = open_table(path)
    prepare = Preparation(campaign="benchmark", merger=mail_merge().bind(table.columns), api=APIS[api])

    def setup() -> tuple[tuple[Any, ...], dict[str, Any]]:
        journal = SqliteJournal()
        feed = Feed(table=table, layout=Layout(table.columns, ("order_id",)), prepare=prepare, journal=journal)
        return (engine_of(iter(feed), journal),), {}

    measure(benchmark, f"all but the transport, {api}", run_to_end, setup=setup)


def engine_of(feed: Iterator[Any], journal: SqliteJournal | None = None) -> Engine:
    """An engine that nothing holds back."""
    journal = journal or SqliteJournal()
    return Engine(feed=feed, journal=journal, transport=Null(), pacer=Pacer(()), concurrency=GROUP)


def run_to_end(engine: Engine) -> None:
    """Run it, and see that it got there."""
    assert engine.run() is None
    assert engine.journal.counts() == {Status.SENT: ROWS}
    engine.journal.close()
