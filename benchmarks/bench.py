"""Measure everything and write RESULTS.md: `make bench`, or `python -m benchmarks.bench` from the project's folder.

A part that wasn't run keeps its earlier results, with the machine and the day that they come from.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import cluster, pacing, parts, shared_journal, startup, streaming, whole_job
from benchmarks.section import merged

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.section import Section

RESULTS = Path(__file__).parent / "RESULTS.md"
ORDER = (
    whole_job.TITLE,
    pacing.TITLE,
    startup.TITLE,
    streaming.TITLE,
    parts.TITLE,
    cluster.TITLE,
    shared_journal.TITLE,
)

_HEADING = """\
# Results

Written by `make bench`; each part names the machine and the day. Everything of a part ran in turn on that machine, in
one run, over the loopback. CONTRIBUTING.md says how to run one part."""
_PARTS = ("whole", "rate", "startup", "tables", "parts", "cluster", "journal")
_LIBRARIES = ("requests", "pycurl", "aiohttp", "mailmerge", "aiosmtpd", "pandas", "pyarrow", "jinja2")


def main() -> int:
    """Measure what was asked for, print it and write it down."""
    given = _arguments()
    measures: dict[str, Callable[[], Section]] = {
        "whole": lambda: whole_job.measure(*((0.25, 1) if given.quick else (1.0, 3))),
        "rate": lambda: pacing.measure(5 if given.quick else 20),
        "startup": lambda: startup.measure(5 if given.quick else 15),
        "tables": lambda: streaming.measure(
            given.rows, endings=tuple(given.tables), is_filled=given.filled, without=given.without
        ),
        "parts": parts.measure,
        "cluster": lambda: cluster.measure(*((0.1, 1) if given.quick else (1.0, 3))),
        "journal": lambda: shared_journal.measure(given.rows),
    }
    print(_machine(), flush=True)
    for name in given.only or measures:
        machine = _machine()
        section = measures[name]()
        print(f"\n{section.text()}\n", flush=True)
        if not given.quick:
            _write(section, machine)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="short tables; printed, not written to RESULTS.md")
    parser.add_argument("--only", action="append", choices=_PARTS, help="this part; give it again for another")
    parser.add_argument("--rows", type=int, help="rows of the large tables (1,000,000; with --quick 20,000)")
    parser.add_argument("--filled", action="store_true", help="fill the journal of the large tables instead of sending")
    parser.add_argument("--without", nargs="+", choices=("check", "report", "audit"), default=(), help="of the tables'")
    parser.add_argument("--tables", nargs="+", choices=("csv", "parquet"), default=("csv", "parquet"))
    given = parser.parse_args()
    given.rows = given.rows or (20_000 if given.quick else 1_000_000)
    return given


def _write(section: Section, machine: str) -> None:
    earlier = RESULTS.read_text(encoding="utf-8") if RESULTS.exists() else ""
    RESULTS.write_text(merged(earlier, _HEADING, {section.title: section.markdown(machine)}, ORDER), encoding="utf-8")


def _machine() -> str:
    day = datetime.now(UTC).date().isoformat()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    system = f"{platform.system()} {platform.release()}"
    python = f"{platform.python_implementation()} {platform.python_version()}"
    libraries = ", ".join(filter(None, map(_library, ("turbobatch-mail", *_LIBRARIES))))
    processors = f"{_processor()}, {os.cpu_count()} cores, {memory:.0f} GiB of memory"
    return f"Measured on {day}: {processors}, {system}, {python}; {libraries}. {_load()}."


def _load() -> str:
    # The reader's only means to tell figures of a quiet machine from those of a busy one.
    return f"Load of the machine just before: {os.getloadavg()[0]:.1f}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _library(name: str) -> str:
    try:
        return f"{name} {version(name)}"
    except PackageNotFoundError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
