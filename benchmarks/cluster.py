"""A campaign sent by several processes: how it scales, what the shared journal and the shared rate cost."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.pacing import worst_second
from benchmarks.processes import FailedError, Responder, responder, run, turbobatch
from benchmarks.section import Section, Target
from benchmarks.simulation import Setup, simulate
from benchmarks.usage import (
    children_but,
    commits,
    database,
    file_system,
    flush_seconds,
    process_of,
    version,
    watched,
)
from benchmarks.whole_job import transports
from benchmarks.workload import write_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.processes import Cost
    from tests.database import Server

TITLE = "Cluster"

_TOLERANCE = 1.03
_ERROR = 0.25
_CORES = os.cpu_count() or 1
_NEVER = 100_000  # rows a second
_METHOD = """\
`turbobatch send --transport {transport}` of receipts, by one process alone or by the processes of `--on local:N`. Its
journal is a file (SQLite) or in PostgreSQL {version} with that one's defaults, both on the same disk ({disk}, which
takes {flush:.1f} ms to make 8 KB more of a file durable). Everything shares this machine's processors: those who send,
PostgreSQL, Dask's scheduler and the server that answers. Rows/s: from the first POST's arrival to the last. Times: as
many, by the one process with a file at the same latency. CPU: of those who send, of PostgreSQL and of the server, in
the same time. Command: seconds from its start to its end, with Dask's start, the look at the table and the report.
Worst second: the most arrivals in any sliding second. Runs of each without a rate: {rounds}; the figures are those of
the one in the middle, by rows/s. Simulated: rows/s by `benchmarks.simulation`, whose costs of a row and of a commit are
those of the first two runs of one process alone with PostgreSQL: these two say little of it, the others do. The load
of the machine was {load:.1f} at the end."""


@dataclass(frozen=True, slots=True)
class Case:
    """Who sends what. `workers`: those of a cluster; 0 for one process alone. `lanes`: of each, POSTs at a time."""

    latency: int
    lanes: int
    rows: int
    is_shared: bool = True
    workers: int = 0
    rate: str = ""

    @property
    def who(self) -> str:
        """As the table says it."""
        return f"{self.workers} by Dask" if self.workers else "1 alone"

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.who}, {'PostgreSQL' if self.is_shared else 'file'}, {self.latency} ms" + (
            f", {self.rate}" if self.rate else ""
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What it took: the whole command, and, while rows were sent, seconds of CPU; journal commits in PostgreSQL."""

    case: Case
    cost: Cost
    seconds: float
    worst: int
    senders: float
    database: float
    server: float
    commits: int

    @property
    def reached(self) -> float:
        """Rows a second."""
        return (self.case.rows - 1) / self.seconds


def cases(scale: float) -> Iterator[Case]:
    """All of them without a rate; `scale` makes the tables longer or shorter."""
    for latency, lanes, many in ((0, 64, 10_000), (50, 16, 3000)):
        rows = max(200, round(many * scale))
        yield Case(latency, lanes, rows, is_shared=False)
        yield Case(latency, lanes, rows)
        for workers in (1, 2, 4):
            yield Case(latency, lanes, rows * (workers if latency else 1), workers=workers)
    yield Case(0, 16, max(200, round(5000 * scale)))
    yield Case(50, 64, max(200, round(5000 * scale)))


def paced(scale: float) -> Iterator[Case]:
    """With a rate: one that is never reached, and two that hold over four processes."""
    rows = max(200, round(10_000 * scale))
    yield Case(0, 64, rows, rate=f"{_NEVER}/second")
    yield Case(0, 64, rows, workers=4, rate=f"{_NEVER}/second")
    yield Case(0, 64, max(200, round(2000 * scale)), workers=4, rate="200/second")
    yield Case(0, 64, rows, workers=4, rate="2000/second")


def measure(scale: float, rounds: int) -> Section:
    """Run each case, those without a rate `rounds` times."""
    with database() as there, responder() as server, tempfile.TemporaryDirectory() as name:
        flush = flush_seconds(Path(name))
        print(f"{flush * 1000:.2f} ms for a flush", flush=True)
        all_found = [run_case(case, there, server, Path(name)) for _ in range(rounds) for case in cases(scale)]
        found = [_middle([item for item in all_found if item.case == case]) for case in cases(scale)]
        found += [run_case(case, there, server, Path(name)) for case in paced(scale)]
        method = _METHOD.format(
            transport=transports()[-1],
            version=version(there.url),
            disk=file_system(Path(name)),
            flush=flush * 1000,
            rounds=rounds,
            load=os.getloadavg()[0],
        )
    costs = costs_of(found, flush)
    simulated = [simulate(setup_of(item.case, costs), emails=20_000).per_second for item in found]
    return Section(
        title=TITLE,
        method=method,
        head=_HEAD,
        rows=tuple(_row(item, found, guess) for item, guess in zip(found, simulated, strict=True)),
        targets=tuple(_targets(found, simulated)),
    )


_HEAD = (
    "Who sends",
    "Journal",
    "Latency ms",
    "POSTs at a time, each",
    "Rate",
    "Rows",
    "Rows/s",
    "Times",
    "Worst second",
    "CPU ms/row",
    "PostgreSQL",
    "Server",
    "Rows a commit",
    "Command s",
    "Simulated",
)


def run_case(case: Case, there: Server, server: Responder, parent: Path) -> Measured:
    """Send its rows once, into a schema of its own."""
    from tests.database import drop_schema, with_schema

    url, schema = with_schema(there.url)
    with tempfile.TemporaryDirectory(dir=parent) as name:
        folder = write_campaign(Path(name) / "campaign", case.rows)
        server.reset(case.latency)
        groups = {
            "senders": children_but(server.process),
            "database": lambda: there.processes,
            "server": process_of(server.process),
        }
        with watched(groups) as usage:
            cost = run(command(case, folder, server.url, url))
        arrivals = server.arrivals()
        if len(arrivals) != case.rows:
            raise FailedError(f"{case.title}: {len(arrivals)} POSTs came for {case.rows} rows")
    begin, end = arrivals[0], arrivals[-1]
    used = {group: usage.between(group, begin, end) for group in groups}
    found = Measured(case, cost, end - begin, worst_second(arrivals), **used, commits=commits(there.url, schema))
    drop_schema(there.url, schema)
    print(f"{case.title}: {found.reached:.0f} rows/s", flush=True)
    return found


def command(case: Case, folder: Path, url: str, journal: str) -> list[str | Path]:
    """The command line of a case, for a campaign's folder, the base URL of v1, and a database."""
    options = ["--transport", transports()[-1], "--concurrency", str(case.lanes)]
    if case.is_shared:
        options += ["--journal", journal]
    if case.workers:
        options += ["--on", f"local:{case.workers}"]
    if case.rate:
        options += ["--rate", case.rate]
    return turbobatch("send", folder, "-o", folder / "report.csv", "--base-url", url, "--api", "v1", "--yes", *options)


def _middle(found: Sequence[Measured]) -> Measured:
    return sorted(found, key=lambda item: item.reached)[len(found) // 2]


# What the simulation is given


def costs_of(found: Sequence[Measured], flush: float) -> Setup:
    """The costs of a row and of a commit, by two runs of one process alone whose commits are of different sizes."""
    alone = [item for item in found if item.case.is_shared and not item.case.workers and not item.case.rate][:2]
    cpu_turn, cpu_row = _line([(item.commits / item.case.rows, item.senders / item.case.rows) for item in alone])
    commit_cpu, commit_row = _line([(item.commits / item.case.rows, item.database / item.case.rows) for item in alone])
    return Setup(
        cpu_row=cpu_row,
        cpu_turn=cpu_turn,
        commit_cpu=commit_cpu,
        commit_row=commit_row,
        flush=flush,
        trip=0.0,
        scatter=0.0,
        one_machine=_CORES,
        vendor_cpu=sum(item.server / item.case.rows for item in alone) / len(alone),
    )


def setup_of(case: Case, costs: Setup) -> Setup:
    """What is simulated for a case."""
    workers, rate = max(case.workers, 1), float(case.rate.partition("/")[0] or 0)
    return replace(costs, workers=workers, concurrency=case.lanes, latency=case.latency / 1000, rate=rate)


def _line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Slope and start of the line through two points; a start at the least of them if it would go down."""
    (x1, y1), (x2, y2) = points
    slope = max((y2 - y1) / (x2 - x1), 0.0) if x1 != x2 else 0.0
    return slope, max(min(y1 - slope * x1, y2 - slope * x2), 0.0)


# What is told


def _row(item: Measured, found: Sequence[Measured], guess: float) -> tuple[str, ...]:
    case = item.case
    base = next(other for other in found if not other.case.is_shared and other.case.latency == case.latency)
    cpu = [f"{value / case.rows * 1000:.2f}" for value in (item.senders, item.database, item.server)]
    return (
        case.who,
        "PostgreSQL" if case.is_shared else "file",
        str(case.latency),
        str(case.lanes),
        case.rate or "none",
        f"{case.rows:,}",
        f"{item.reached:,.0f}",
        f"{item.reached / base.reached:.2f}",
        str(item.worst),
        *cpu,
        f"{case.rows / item.commits:.1f}" if case.is_shared else "",
        f"{item.cost.seconds:.1f}",
        f"{guess:,.0f}" if case.is_shared else "",
    )


def _targets(found: Sequence[Measured], simulated: Sequence[float]) -> Iterator[Target]:
    for item, guess in zip(found, simulated, strict=True):
        case = item.case
        asked = float(case.rate.partition("/")[0] or 0)
        if asked and case.workers and asked < _NEVER:
            most = asked * _TOLERANCE
            what = f"at most {most:.0f} in any sliding second ({case.title})"
            yield Target(what, str(item.worst), item.worst <= most)
        if case.workers and not asked:
            what = f"simulated within {_ERROR:.0%} of the measured ({case.title})"
            error = guess / item.reached - 1
            yield Target(what, f"{error:+.0%}", abs(error) <= _ERROR)
