"""The journal in PostgreSQL alone: what a commit costs, how much room a row takes, the look at a table, the report."""

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processes import Cost, responder, run, turbobatch
from benchmarks.section import Section
from benchmarks.usage import commits, database, file_system, used_by, version, written
from benchmarks.workload import write_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.database import Server

TITLE = "Shared journal"

_METHOD = """\
"Commits of n": one process puts receipts through the journal as an engine does, with the intents of n emails and the
outcomes of the n before in each commit; in PostgreSQL {version} with its defaults, or in a file (SQLite), both on the
same disk ({disk}). "Look": what `turbobatch send --on local:1` does before it asks, on a CSV file. "Again": the same
command without Dask once every row is sent, with its report. Start-up is included. CPU and peak: as for the whole job,
with those whom the command has started. PostgreSQL: the CPU of all its processes. Log: its write-ahead log.
The {rows:,} rows take {room}."""
_HEAD = (
    "What",
    "Rows",
    "Seconds",
    "Commits",
    "ms a commit",
    "CPU ms/row",
    "PostgreSQL ms/row",
    "Log bytes/row",
    "Peak MB",
)
_SIZES = """\
SELECT c.relname, pg_total_relation_size(c.oid), pg_indexes_size(c.oid) FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname IN ('turbobatch_send', 'turbobatch_post') ORDER BY 1 DESC"""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a command took: `database` is PostgreSQL's CPU, in seconds, `logged` the bytes of its write-ahead log."""

    what: str
    rows: int
    cost: Cost
    database: float
    commits: int = 0
    logged: int = 0

    def cells(self) -> tuple[str, ...]:
        """As the table has it."""
        return (
            self.what,
            f"{self.rows:,}",
            f"{self.cost.seconds:.1f}",
            f"{self.commits:,}" if self.commits else "",
            f"{self.cost.seconds / self.commits * 1000:.2f}" if self.commits else "",
            f"{self.cost.cpu / self.rows * 1000:.3f}",
            f"{self.database / self.rows * 1000:.3f}",
            f"{self.logged / self.rows:,.0f}" if self.logged else "",
            f"{self.cost.peak:.0f}",
        )


def measure(rows: int) -> Section:
    """Fill journals, a large one last, and look at the table and report with that."""
    with database() as there, tempfile.TemporaryDirectory() as name:
        found = list(_small(there, Path(name), max(rows // 50, 200)))
        with _schema(there) as (url, schema):
            found.append(_filled(there, url, schema, rows, 64))
            room = _room(there.url, schema, rows)
            found += _large(there, Path(name), url, rows)
        method = _METHOD.format(version=version(there.url), disk=file_system(Path(name)), rows=rows, room=room)
    return Section(title=TITLE, method=method, head=_HEAD, rows=tuple(item.cells() for item in found))


def _small(there: Server, folder: Path, rows: int) -> Iterator[Measured]:
    for at_once in (1, 16, 64, 256):
        few = max(rows // (10 if at_once == 1 else 1), 100)
        cost = run(_fill(folder / f"{at_once}.journal.db", few, at_once))
        yield Measured(f"commits of {at_once}, file", few, cost, 0.0, -(-few // at_once) + 1)
        with _schema(there) as (url, schema):
            yield _filled(there, url, schema, few, at_once)
    with _schema(there) as (url, schema):
        yield _filled(there, url, schema, rows, 16, rate="100000/second")


def _filled(there: Server, url: str, schema: str, rows: int, at_once: int, *, rate: str = "") -> Measured:
    before, logged = used_by(there.processes), written(there.url)
    cost = run([*_fill(url, rows, at_once), *(["--rate", rate] if rate else [])])
    used, logged = used_by(there.processes) - before, written(there.url) - logged
    what = f"commits of {at_once}, PostgreSQL{f', {rate}' if rate else ''}"
    found = Measured(what, rows, cost, used, commits(there.url, schema), logged)
    print(f"{found.what}: {rows / cost.seconds:.0f} rows/s, {used / rows * 1000:.3f} ms/row", flush=True)
    return found


def _fill(place: str | Path, rows: int, at_once: int) -> list[str | Path]:
    return [sys.executable, "-m", "benchmarks.fill_journal", place, str(rows), "--at-once", str(at_once)]


def _large(there: Server, parent: Path, sent: str, rows: int) -> Iterator[Measured]:
    folder = write_campaign(parent / "campaign", 0)
    run([sys.executable, "-m", "benchmarks.workload", folder / "recipients.csv", str(rows)])
    with responder() as server, _schema(there) as (empty, _):
        ask = turbobatch("send", folder, "-o", folder / "report.csv", "--base-url", server.url, "--api", "v1")
        commands: dict[str, Sequence[str | Path]] = {
            "look, one worker": [*ask, "--journal", empty, "--on", "local:1"],
            "again": [*ask, "--journal", sent, "--yes"],
            "report": turbobatch("report", folder, "-o", folder / "report.csv", "--journal", sent),
            "look and report, one worker": [
                *turbobatch("report", folder, "-o", f"{folder / 'report'}/", "--journal", sent),
                *("--on", "local:1"),
            ],
        }
        for what, command in commands.items():
            before = used_by(there.processes)
            # It doesn't send unasked, which ends it with 2.
            cost = run(command, expected=(2,) if what.startswith("look, ") else (0,))
            yield Measured(what, rows, cost, used_by(there.processes) - before)
            print(f"{what}: {cost.seconds:.0f} s", flush=True)


@contextmanager
def _schema(there: Server) -> Iterator[tuple[str, str]]:
    from tests.database import drop_schema, with_schema

    url, schema = with_schema(there.url)
    yield url, schema
    drop_schema(there.url, schema)


def _room(url: str, schema: str, rows: int) -> str:
    """Bytes that the tables take, in words."""
    import psycopg

    with psycopg.connect(url) as connection:
        found = connection.execute(_SIZES, (schema,)).fetchall()
    parts = [
        f"{size / rows:.0f} bytes each in {name}, {indexes / rows:.0f} of them its indexes"
        for name, size, indexes in found
    ]
    return f"{'; '.join(parts)} (`pg_total_relation_size`): {sum(size for _, size, _ in found) / rows:.0f} in all"
