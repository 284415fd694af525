"""The throughput as a small static picture: an SVG in an `<img>`, which every notebook keeps, for both themes."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT = 520, 96
_LEFT, _TOP, _BOTTOM = 52, 8, 18  # the axes' margins
_INK, _LINE, _AREA = "#808890", "#3b82d6", "#3b82d633"


def throughput_svg(points: Sequence[tuple[float, float]]) -> str:
    """Draw rows per second (second values) over seconds (first values, ascending)."""
    right, bottom = _WIDTH - 8, _HEIGHT - _BOTTOM
    end = max((seconds for seconds, _ in points), default=1.0)
    begin = min((seconds for seconds, _ in points), default=0.0)
    top = _rounded_up(max((pace for _, pace in points), default=1.0))

    def place(seconds: float, pace: float) -> str:
        x = _LEFT + (right - _LEFT) * ((seconds - begin) / (end - begin) if end > begin else 1.0)
        return f"{x:.1f},{bottom - (bottom - _TOP) * pace / top:.1f}"

    line = " ".join(place(*point) for point in points)
    area = f"{place(begin, 0)} {line} {place(end, 0)}" if points else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="11" fill="{_INK}">'
        f'<path d="M{_LEFT} {_TOP}V{bottom}H{right}" fill="none" stroke="{_INK}" stroke-width="1"/>'
        f'<polygon points="{area}" fill="{_AREA}"/>'
        f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="1.5"/>'
        f'<text x="{_LEFT - 6}" y="{_TOP + 8}" text-anchor="end">{top:g}/s</text>'
        f'<text x="{_LEFT - 6}" y="{bottom}" text-anchor="end">0</text>'
        f'<text x="{right}" y="{_HEIGHT - 4}" text-anchor="end">{end:.0f} s</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 4}">{begin:.0f} s</text></svg>'
    )


def throughput_image(points: Sequence[tuple[float, float]]) -> str:
    """The same as an `<img>`; without two points there is nothing to see."""
    if len(points) < 2:  # noqa: PLR2004 - a line has two ends
        return ""
    data = base64.b64encode(throughput_svg(points).encode()).decode()
    return (
        f'<img alt="rows per second over time" style="max-width: 100%; height: auto" '
        f'src="data:image/svg+xml;base64,{data}">'
    )


def _rounded_up(value: float) -> float:
    """The next number of the form 1, 2 or 5 times a power of ten, as the axis' end."""
    step = 1.0
    while step < value:
        step *= 10
    while step / 10 >= value > 0:
        step /= 10
    return next(step * part for part in (0.1, 0.2, 0.5, 1.0) if step * part >= value)
