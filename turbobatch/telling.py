"""How figures are told: counts, shares, moments, durations, cells."""

from __future__ import annotations

from datetime import datetime
from typing import Any

_LEAST = 0.1  # percent that are told
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400
_FAST = 10  # emails per second that are told without a fraction


def number(count: int) -> str:
    """A count, its thousands apart."""
    return f"{count:,}"


def many(count: int, what: str, plural: str = "") -> str:
    """A count and what is counted."""
    return f"{count:,} {what if count == 1 else plural or what + 's'}"


def share(count: int, whole: int) -> str:
    """A part in percent, so that neither little looks like nothing nor nearly all like all."""
    if not count or not whole:
        return "0 %"
    percent = 100 * count / whole
    if count == whole:
        return "100 %"
    if percent < _LEAST:
        return f"< {_LEAST} %"
    return f"> {100 - _LEAST} %" if percent > 100 - _LEAST else f"{percent:.1f} %"


def moment(time: datetime | None) -> str:
    """A moment in UTC, to the second."""
    return f"{time:%Y-%m-%d %H:%M:%S}" if time else ""


def lasting(seconds: float) -> str:
    """A duration."""
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    days, hours, minutes = whole // _DAY, whole % _DAY // _HOUR, whole % _HOUR // _MINUTE
    if days:
        return f"{many(days, 'day')} {hours} h"
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {whole % _MINUTE:02} s"


def pace(rate: float) -> str:
    """Emails per second, as closely as it tells something."""
    if rate >= _FAST:
        return f"{rate:,.0f}"
    return f"{rate:.1f}" if rate >= 1 else f"{rate:.2g}"


def cell(value: Any) -> str:
    """A cell as people read it; nothing where it is missing."""
    import pandas as pd

    if isinstance(value, str):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "; ".join(map(str, value))
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return ""
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")
    return str(value)
