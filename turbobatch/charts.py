"""Which plot shows what of a summary: the pace, how addresses failed, and in which domains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbobatch.plots import Bar, bars, rounded_up, steps

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from turbobatch.plots import Plot
    from turbobatch.tally import CategoryCount, DomainCount, PacePoint

SHOWN = 10  # bars of a plot
_TICKS = 5  # texts below the pace
_MINUTES = 300  # seconds that are told to the second
_DAYS = 2 * 86_400  # seconds from which on days are told


def pace_chart(points: Sequence[PacePoint]) -> Plot:
    """Emails per second over the time of a run, in UTC."""
    values = [point.emails / point.seconds for point in points]
    whole = sum(point.seconds for point in points)
    every = max(-(-len(points) // _TICKS), 1)
    ticks = [(float(place), clock(points[place].begin, whole)) for place in range(0, len(points), every)]
    return steps(values, ticks, top=rounded_up(max(values, default=0)), unit="/s")


def category_chart(categories: Sequence[CategoryCount]) -> Plot:
    """How many addresses failed in which way."""
    return bars([Bar(item.category, (item.addresses,), f"{item.addresses:,}") for item in categories[:SHOWN]], ["bad"])


def domain_chart(domains: Sequence[DomainCount]) -> Plot:
    """The failed emails of a domain, and its others."""
    lines = [
        Bar(domain_name(item), (item.failed, item.emails - item.failed), f"{item.failed:,} of {item.emails:,}")
        for item in domains[:SHOWN]
    ]
    return bars(lines, ["bad", "good"])


def domain_name(item: DomainCount) -> str:
    """A domain as people read it."""
    return item.domain or "(no address)"


def clock(moment: datetime, span: float) -> str:
    """A moment as far as it tells something where `span` seconds are shown."""
    if span > _DAYS:
        return f"{moment:%Y-%m-%d}"
    return f"{moment:%H:%M:%S}" if span <= _MINUTES else f"{moment:%H:%M}"
