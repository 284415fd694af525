"""The benchmarks measure what they say: the server counts, the contestants do the job, a failure is no result."""

from __future__ import annotations

import json
import socket
import sys
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from benchmarks.cluster import Case, Measured, cases, costs_of, paced, run_case
from benchmarks.fill_journal import fill
from benchmarks.pacing import worst_second
from benchmarks.processes import Cost, FailedError, Responder, responder, run
from benchmarks.section import merged
from benchmarks.usage import counting, process_of, used_by, watched
from benchmarks.whole_job import NAIVE, Entry, contestant
from benchmarks.workload import COLUMNS, rows, write_campaign, write_parquet
from tests.database import Server
from turbobatch.journal import journal_place, read_journal
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[Responder]:
    with responder() as running:
        yield running


@pytest.fixture(scope="module")
def postgres_server() -> Iterator[Server]:
    """A PostgreSQL whose processes are this machine's."""
    with counting(Server()) as running:
        yield running


def test_the_responder_answers_on_one_connection_and_counts(server: Responder) -> None:
    """v1 and v2 each get their answer once the request is complete; every POST has its time of arrival."""
    with socket.create_connection(("127.0.0.1", server.port)) as connection:
        connection.sendall(b"POST /api/mail/send HTTP/1.1\r\nHost: x\r\nCONTENT-LENGTH: 7\r\n\r\na=1")
        assert server.count() == 0
        connection.sendall(b"&b=2")
        first = connection.recv(65536)
        connection.sendall(b"POST /api/v2/mail/send HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")
        second = connection.recv(65536)
    assert json.loads(first.partition(b"\r\n\r\n")[2]) == {"message": "OK"}
    assert json.loads(second.partition(b"\r\n\r\n")[2]).keys() == {"message", "mid"}
    assert server.count() == 2
    assert len(server.arrivals()) == 2
    server.reset(0)
    assert server.count() == 0
    assert server.arrivals() == []


def test_the_responder_makes_each_post_wait_for_the_latency(server: Responder) -> None:
    """Many at a time: none of them is answered before its latency is over."""
    server.reset(100)
    connections = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
    began = time.monotonic()
    for connection in connections:
        connection.sendall(b"POST /api/mail/send HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
    for connection in connections:
        assert b"OK" in connection.recv(65536)
        assert time.monotonic() - began >= 0.1
        connection.close()
    assert server.count() == 5


@pytest.mark.parametrize(
    "entry",
    [
        Entry(NAIVE, 0, 1, 7),
        Entry("threaded requests", 0, 3, 7),
        Entry("turbobatch requests", 0, 3, 7),
        Entry("turbobatch requests", 0, 3, 7, "v2"),
    ],
    ids=lambda entry: f"{entry.name} {entry.api}",
)
def test_a_contestant_sends_every_row_once_and_writes_results(server: Responder, tmp_path: Path, entry: Entry) -> None:
    """What is compared is the same job."""
    folder = write_campaign(tmp_path / "campaign", entry.rows)
    cost = run(contestant(entry, folder, server.url))
    assert server.count() == entry.rows
    (written,) = {folder / "report.csv", folder / "results.csv"} & set(folder.iterdir())
    results = pd.read_csv(written)
    assert len(results) == entry.rows
    assert cost.cpu > 0
    assert cost.peak > 0


def test_a_failed_command_is_no_result() -> None:
    """It ends the benchmark with the command's own words."""
    with pytest.raises(FailedError, match=r"(?s)ended with 3.*out of paper"):
        run([sys.executable, "-c", "import sys; print('out of paper', file=sys.stderr); sys.exit(3)"])


@pytest.mark.unmeasured
@pytest.mark.parametrize("workers", [0, 1])
def test_a_case_of_the_cluster_sends_every_row_once(
    server: Responder, postgres_server: Server, tmp_path: Path, workers: int
) -> None:
    """By one process or by a worker: each row is posted, commits are counted, and so is everybody's CPU."""
    found = run_case(Case(20, 4, 40, workers=workers), postgres_server, server, tmp_path)
    assert server.count() == 40
    assert 40 / 16 < found.commits <= 2 * 40
    assert found.seconds > 0
    assert min(found.senders, found.database, found.server) >= 0
    assert found.cost.cpu > 0


def test_costs_are_those_of_a_line_through_two_runs() -> None:
    """What doesn't go with the commits goes with the rows."""
    one, two = (
        Measured(case, Cost(1, 1, 1), 1.0, 1, senders, database, 0.01, commits)
        for case, commits, senders, database in (
            (Case(0, 64, 100), 10, 0.1 + 10 * 0.002, 0.01 + 10 * 0.001),
            (Case(50, 16, 100), 50, 0.1 + 50 * 0.002, 0.01 + 50 * 0.001),
        )
    )
    costs = costs_of([one, two], 0.003)
    assert costs.cpu_row == pytest.approx(0.001)
    assert costs.cpu_turn == pytest.approx(0.002)
    assert costs.commit_row == pytest.approx(0.0001)
    assert costs.commit_cpu == pytest.approx(0.001)
    assert costs.vendor_cpu == pytest.approx(0.0001)


def test_the_clusters_cases_have_one_to_be_compared_with() -> None:
    """At each latency one process with a file goes first, and a quick look has them all."""
    assert len(set(cases(1.0))) == len(list(cases(1.0))) == len(list(cases(0.1)))
    alone = {case.latency for case in cases(1.0) if not case.is_shared}
    assert alone == {case.latency for case in (*cases(1.0), *paced(1.0))}


@pytest.mark.parametrize("rate", ["", "100000/second"])
def test_a_filled_journal_says_that_every_row_is_sent(database: str, rate: str) -> None:
    """In batches of commits; with a rate its permits are taken."""
    fill(journal_place(database), 50, first=7, at_once=20, rate=rate)
    with read_journal(journal_place(database), "benchmark") as journal:
        assert journal.counts() == {Status.SENT: 50}
        assert journal.lookup(["0000007", "0000056", "0000006"]).keys() == {"0000007", "0000056"}


def test_usage_between_two_times(server: Responder) -> None:
    """A process that works uses CPU in that time, and as much as it says itself."""
    group = process_of(server.process)
    with watched({"server": group}) as usage:
        begin, before = time.monotonic(), used_by(group())
        while used_by(group()) < before + 0.05:
            server.count()
        end = time.monotonic()
    assert 0.0 < usage.between("server", begin, end) <= used_by(group())
    assert usage.between("server", begin, begin) == 0.0


def test_the_same_rows_each_time_in_either_format(tmp_path: Path) -> None:
    """The contestants' tables differ in nothing, and keys are unique."""
    write_parquet(tmp_path / "table.parquet", 50)
    table = pd.read_parquet(tmp_path / "table.parquet")
    assert tuple(table.columns) == COLUMNS
    assert list(table.itertuples(index=False, name=None)) == list(rows(50))
    assert table["order_id"].is_unique


def test_the_worst_second_slides() -> None:
    """It is found wherever it begins; a window's end is outside it."""
    assert worst_second([0.0, 0.6, 0.9, 1.2, 1.59, 2.7]) == 4
    assert worst_second([0.0, 1.0, 2.0]) == 1
    assert worst_second([5.0]) == 1


def test_a_part_that_was_not_measured_keeps_its_results() -> None:
    """Only the part that ran is replaced; the parts stand in their order."""
    earlier = "# Results\n\nOld words.\n\n## One\n\nold one\n\n## Three\n\nold three\n"
    text = merged(
        earlier,
        "# Results\n\nNew words.",
        {"Two": "## Two\n\nnew two", "One": "## One\n\nnew one"},
        ["One", "Two", "Three"],
    )
    assert text == "# Results\n\nNew words.\n\n## One\n\nnew one\n\n## Two\n\nnew two\n\n## Three\n\nold three\n"
