"""Large tables: the peak memory of each command, and how long it takes to skip what is already sent."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processes import FailedError, Responder, responder, run, turbobatch
from benchmarks.section import Section, Target
from benchmarks.whole_job import transports
from benchmarks.workload import write_campaign

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from benchmarks.processes import Cost

TITLE = "Large tables"

_PEAK = 300  # MB
_SKIP = 30  # seconds for a million rows
_MILLION = 1_000_000
_METHOD = """\
Each command on {rows:,} receipts; the send goes to the bare asyncio server at 0 ms and writes its report in the table's
own format, the audit reads that report. "send again" is the same command once more, when every row is sent already.
Peak: as for the whole job."""
_FILLED = (
    " The first send was left out: a journal that says that every row is sent was made through the journal's own door."
)


def measure(
    rows: int,
    *,
    endings: tuple[str, ...] = ("csv", "parquet"),
    is_filled: bool = False,
    without: Collection[str] = (),
) -> Section:
    """Run check, send, report and audit; with `is_filled` the first send is left out and its journal filled instead.

    `without`: commands that are left out too.
    """
    found: list[tuple[str, str, Cost]] = []
    with tempfile.TemporaryDirectory() as name, responder() as server:
        for ending in endings:
            folder = write_campaign(Path(name) / ending, 0)
            table = folder / f"table.{ending}"
            # In a process of its own: this one has to stay small.
            run([sys.executable, "-m", "benchmarks.workload", table, str(rows)])
            for title, cost in _commands(folder, table, server, rows, without, is_filled=is_filled):
                print(f"{ending}, {title}: {cost.seconds:.0f} s, {cost.peak:.0f} MB", flush=True)
                found.append((title, ending, cost))
    return Section(
        title=TITLE,
        method=_METHOD.format(rows=rows)
        + (_FILLED if is_filled else "")
        + (f" Not measured here: {', '.join(without)}." if without else ""),
        head=("Command", "Table", "Seconds", "CPU ms/row", "Peak MB"),
        rows=tuple(
            (title, ending, f"{cost.seconds:.1f}", f"{cost.cpu / rows * 1000:.3f}", f"{cost.peak:.0f}")
            for title, ending, cost in found
        ),
        targets=tuple(target for title, ending, cost in found for target in _targets(title, ending, cost, rows)),
    )


def _commands(
    folder: Path, table: Path, server: Responder, rows: int, without: Collection[str], *, is_filled: bool
) -> Iterator[tuple[str, Cost]]:
    report = folder / f"report{table.suffix}"
    transport = transports()[-1]
    lanes = "256" if transport == "curl" else "16"
    there = ("--base-url", server.url, "--api", "v1", "--yes", "--transport", transport, "--concurrency", lanes)
    setting = folder / "campaign.toml"
    setting.write_text(setting.read_text(encoding="utf-8").replace("recipients.csv", table.name), encoding="utf-8")
    steps = {
        "check": turbobatch("check", folder, "--api", "v1"),
        "send": turbobatch("send", folder, "-o", report, *there),
        "send again": turbobatch("send", folder, "-o", report, *there),
        "report": turbobatch("report", folder, "-o", report),
        "audit": turbobatch("audit", report, "-o", folder / "audit.csv"),
    }
    if is_filled:
        del steps["send"]
        run([sys.executable, "-m", "benchmarks.fill_journal", folder / "benchmark.journal.db", str(rows)])
    for title in without:
        steps.pop(title, None)
    for title, command in steps.items():
        server.reset(0)
        yield title, run(command)
        expected = rows if title == "send" else 0
        if (came := server.count()) != expected:
            raise FailedError(f"{title}: {came} POSTs came instead of {expected}")


def _targets(title: str, ending: str, cost: Cost, rows: int) -> Iterator[Target]:
    where = f"{title}, {rows:,} rows, {ending}"
    yield Target(f"under {_PEAK} MB ({where})", f"{cost.peak:.0f} MB", cost.peak < _PEAK)
    if title == "send again" and rows >= _MILLION:  # fewer rows prove nothing about it
        what = f"{_MILLION:,} rows that are sent are skipped in under {_SKIP} s ({where})"
        yield Target(what, f"{cost.seconds:.1f} s", cost.seconds < _SKIP * rows / _MILLION)
