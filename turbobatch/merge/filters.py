"""The filters that receipts need beyond Jinja's own."""

from __future__ import annotations

from datetime import date, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from jinja2 import Undefined

MAX_PLACES = 12


class CellError(ValueError):
    """A filter can't read a cell's value. The message is one clause."""


def format_date(value: Any, form: str = "%Y-%m-%d") -> str:
    """Write a date or time, given as such or as ISO text: `{{ ordered | date("%d.%m.%Y") }}`.

    Raises:
        CellError: the value is no date.
    """
    if isinstance(value, Undefined):
        return str(value)
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise CellError(f"{value!r} is not a date such as 2026-11-30") from None
    if not isinstance(value, date):
        raise CellError(f"{value!r} is not a date")
    return value.strftime(form)


def format_number(value: Any, places: int = 0, thousands: str = "", decimal: str = ".") -> str:
    """Write a number with fixed decimals, halves rounded away from zero: `{{ total | number(2, thousands=",") }}`.

    Raises:
        CellError: the value is no number.
    """
    if isinstance(value, Undefined):
        return str(value)
    if not 0 <= places <= MAX_PLACES:
        raise CellError(f"a number has 0 to {MAX_PLACES} decimals, not {places}")
    rounded = _decimal(value, places)
    return f"{rounded:,f}".translate({ord(","): thousands, ord("."): decimal})


def _decimal(value: Any, places: int) -> Decimal:
    try:
        number = Decimal(str(value).strip()) if not isinstance(value, bool) else Decimal("NaN")
        if number.is_finite():
            return number.quantize(Decimal(1).scaleb(-places), rounding=ROUND_HALF_UP)
    except InvalidOperation:
        pass
    raise CellError(f"{value!r} is not a number such as 1234.50")
