"""The parts alone, by pytest-benchmark: merge, encode, journal, rates, engine, CSV."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

from benchmarks.processes import run
from benchmarks.section import Section

TITLE = "Parts"

_METHOD = """\
Each part alone, by pytest-benchmark (`benchmarks/test_*.py`); microseconds of clock time for one row (or permit), the
median and the least of the rounds."""


def measure() -> Section:
    """Run the benchmarks."""
    with tempfile.TemporaryDirectory() as name:
        found = Path(name) / "found.json"
        options = ("--benchmark-only", f"--benchmark-json={found}")
        run([sys.executable, "-m", "pytest", "benchmarks", "-q", "-p", "no:cacheprovider", *options])
        measured = json.loads(found.read_text(encoding="utf-8"))["benchmarks"]
    rows = []
    for item in measured:
        of, stats = item["extra_info"]["of"], item["stats"]
        times = (f"{stats[kind] / of * 1e6:,.1f}" for kind in ("median", "min"))
        rows.append((item["extra_info"]["what"], *times, str(stats["rounds"])))
    return Section(title=TITLE, method=_METHOD, head=("Part", "Median µs", "Least µs", "Rounds"), rows=tuple(rows))
