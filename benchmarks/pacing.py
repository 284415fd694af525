"""A rate as the server sees it: how close to what was asked, and the worst sliding second."""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processes import responder, run, turbobatch
from benchmarks.section import Section, Target
from benchmarks.whole_job import transports
from benchmarks.workload import write_campaign

if TYPE_CHECKING:
    from collections.abc import Sequence

TITLE = "Rate"

_ASKED = 100  # rows a second
_LEAST = 98
_TOLERANCE = 1.03
_LATENCIES = (0, 50)  # ms
_METHOD = f"""\
`turbobatch send --rate {_ASKED}/second`, by the times at which the complete requests arrived at the server. Rows/s:
from the first arrival to the last. Worst second: the most arrivals in any sliding second."""


def worst_second(arrivals: Sequence[float]) -> int:
    """Count the most arrivals in any half-open window of one second; `arrivals` ascend."""
    worst = oldest = 0
    for newest, at in enumerate(arrivals):
        while at - arrivals[oldest] >= 1:
            oldest += 1
        worst = max(worst, newest - oldest + 1)
    return worst


def measure(seconds: float) -> Section:
    """Send for so many seconds with each transport at each latency."""
    rows, targets = [], []
    count = round(seconds * _ASKED)
    with tempfile.TemporaryDirectory() as name, responder() as server:
        for transport in transports():
            for latency in _LATENCIES:
                folder = write_campaign(Path(name) / f"{transport}-{latency}", count)
                server.reset(latency)
                options = ("--rate", f"{_ASKED}/second", "--transport", transport, "--base-url", server.url)
                run(turbobatch("send", folder, "-o", folder / "report.csv", "--api", "v1", "--yes", *options))
                arrivals = server.arrivals()
                reached = (len(arrivals) - 1) / (arrivals[-1] - arrivals[0])
                worst = worst_second(arrivals)
                longest = max(later - earlier for earlier, later in pairwise(arrivals))
                cells = (f"{len(arrivals):,}", f"{reached:.2f}", str(worst), f"{longest * 1000:.0f}")
                rows.append((transport, str(latency), *cells))
                targets += _targets(f"{transport}, {latency} ms", reached, worst)
    return Section(
        title=TITLE,
        method=_METHOD,
        head=("Transport", "Latency ms", "Rows", "Rows/s", "Worst second", "Longest gap ms"),
        rows=tuple(rows),
        targets=tuple(targets),
    )


def _targets(where: str, reached: float, worst: int) -> list[Target]:
    most = _ASKED * _TOLERANCE
    return [
        Target(f"at least {_LEAST} rows/s of {_ASKED} asked ({where})", f"{reached:.2f}", reached >= _LEAST),
        Target(f"at most {most:.0f} in any sliding second ({where})", str(worst), worst <= most),
    ]
