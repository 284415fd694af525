"""Which plot shows what of a summary: the pace, how addresses failed, and in which domains."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TYPE_CHECKING

from turbobatch.plots import Bar, bars, rounded_up, steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from turbobatch.plots import Plot
    from turbobatch.tally import CategoryCount, DomainCount, PacePoint

SHOWN = 10  # bars of a plot
_TICKS = 5  # texts below the pace at most
_STEPS = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
)  # fmt: skip
"""Seconds between two of them; later a week's multiples."""
_MINUTE, _DAY = 60, 86_400


def pace_chart(points: Sequence[PacePoint]) -> Plot:
    """Emails per second over the time of a run, in UTC."""
    values = [point.emails / point.seconds for point in points]
    whole = sum(point.seconds for point in points)
    return steps(values, _ticks(points, whole), top=rounded_up(max(values, default=0)), unit="/s")


def _ticks(points: Sequence[PacePoint], whole: float) -> list[tuple[float, str]]:
    """Round moments, or the first one where there is none between the ends."""
    weeks = _STEPS[-1] * math.ceil(whole / _TICKS / _STEPS[-1])
    step = next((step for step in _STEPS if whole / step <= _TICKS), weeks)
    begin, seconds = points[0].begin, points[0].seconds
    late = -begin.timestamp() % step
    places = [late + number * step for number in range(_TICKS + 1) if late + number * step <= whole] or [0.0]
    return [(place / seconds, _clock(begin + timedelta(seconds=place), step, whole)) for place in places]


def category_chart(categories: Sequence[CategoryCount]) -> Plot:
    """How many addresses failed in which way."""
    return bars([Bar(item.category, (item.addresses,), f"{item.addresses:,}") for item in categories[:SHOWN]], ["bad"])


def domain_chart(domains: Sequence[DomainCount]) -> Plot:
    """What became of the emails of a domain: failed, in doubt, sent, and the rest."""
    lines = [
        Bar(
            domain_name(item), (item.failed, item.in_doubt, item.sent, item.rest), f"{item.failed:,} of {item.emails:,}"
        )
        for item in domains[:SHOWN]
    ]
    return bars(lines, ["bad", "doubt", "good", "wait"])


def domain_name(item: DomainCount) -> str:
    """A domain as people read it."""
    return item.domain or "(no address)"


def _clock(moment: datetime, step: float, whole: float) -> str:
    """A moment as far as it tells `step` seconds apart in `whole` seconds."""
    if step >= _DAY:
        return f"{moment:%Y-%m-%d}"
    if step < _MINUTE:
        return f"{moment:%H:%M:%S}"
    return f"{moment:%m-%d %H:%M}" if whole > _DAY else f"{moment:%H:%M}"
