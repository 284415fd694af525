"""What a run's samples come to: its pace over the last moments, the time left, the points of a plot."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

MOST_SAMPLES = 240
"""Samples that are held; when there are more, every other one goes, so that a run of days has a plot too."""

RECENT = 10.0
"""Seconds over which the pace of the moment is taken."""


class Sample(NamedTuple):
    """A moment of a run: its seconds, and the rows with a verdict of this run by then."""

    seconds: float
    rows: int


def with_sample(samples: tuple[Sample, ...], sample: Sample) -> tuple[Sample, ...]:
    """Add a moment, unless it comes too soon after the one before."""
    if samples and sample.seconds < samples[-1].seconds + _spacing(samples):
        return samples
    samples = (*samples, sample)
    return samples[::2] if len(samples) > MOST_SAMPLES else samples


def throughput(samples: tuple[Sample, ...]) -> list[tuple[float, float]]:
    """The plot's points: (seconds, rows per second since the sample before)."""
    pairs = pairwise(samples)
    return [(b.seconds, (b.rows - a.rows) / (b.seconds - a.seconds)) for a, b in pairs if b.seconds > a.seconds]


def pace(samples: tuple[Sample, ...], now: Sample) -> float:
    """Rows per second over the last moments."""
    recent = [item for item in samples if item.seconds >= now.seconds - RECENT and item.seconds < now.seconds]
    first = recent[0] if recent else Sample(0.0, 0)
    return max((now.rows - first.rows) / (now.seconds - first.seconds), 0.0) if now.seconds > first.seconds else 0.0


def _spacing(samples: tuple[Sample, ...]) -> float:
    """Seconds between two samples: half a second at first, more once every other one has gone."""
    least = 0.5
    if len(samples) < MOST_SAMPLES // 2:
        return least
    return max(least, (samples[-1].seconds - samples[0].seconds) / len(samples))
