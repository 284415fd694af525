"""What the journal's table holds → entries, checked: a file that was edited or damaged must not be believed."""

from __future__ import annotations

import json
from types import NoneType
from typing import TYPE_CHECKING, Any

from turbobatch.journal.failures import damaged
from turbobatch.journal.protocol import Entry
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turbobatch.journal.place import Place
    from turbobatch.journal.protocol import Outcome

_STATUSES = {str(status): status for status in Status}
_LATEST = 9e9  # seconds since the epoch, in the year 2255: the last that a report can hold
_MOST = 32767  # of what a report holds as Int16
_Column = tuple[tuple[type, ...], float | None]
_TEXT: _Column = ((str,), None)
_TEXT_OR_NONE: _Column = ((str, NoneType), None)
_TIME_OR_NONE: _Column = ((float, NoneType), _LATEST)
_COLUMNS: tuple[_Column, ...] = (
    *(_TEXT, _TEXT, _TEXT, _TEXT_OR_NONE, _TEXT_OR_NONE),  # key, status, message, errors, mid
    *(((int, NoneType), _MOST), ((int,), _MOST)),  # http_status, attempts
    *(_TIME_OR_NONE, _TIME_OR_NONE, _TEXT_OR_NONE, _TEXT_OR_NONE),  # time, seconds, digest, recipients
)
"""What an entry's columns hold: the types, and of numbers the highest; the lowest is 0."""


def entries_of(rows: Sequence[tuple[Any, ...]], path: Place | None) -> list[Entry]:
    """Entries as they were stored; checked by the column, as there may be a million of them.

    Raises:
        JournalError: one of them makes no sense.
    """
    if not rows:
        return []
    columns: list[Sequence[Any]] = list(zip(*rows, strict=True))
    if len(columns) == len(_COLUMNS):
        columns.append([False] * len(rows))  # in_flight: nobody else may have a file open
    statuses = {text: status_of(text, path) for text in set(columns[1])}
    errors = {text: _errors(text) for text in set(columns[3])}
    if None not in errors.values() and all(map(_is_sound, columns, _COLUMNS)):
        columns[1], columns[3] = [statuses[text] for text in columns[1]], [errors[text] for text in columns[3]]
        return list(map(Entry._make, zip(*columns, strict=True)))
    if len(rows) == 1:
        raise damaged(path, f"what it holds of key {rows[0][0]!r} makes no sense")
    return [entry for row in rows for entry in entries_of([row], path)]


def status_of(text: object, path: Place | None) -> Status:
    """The status of that name.

    Raises:
        JournalError: there is none.
    """
    status = _STATUSES.get(text) if isinstance(text, str) else None
    if status is None:
        raise damaged(path, f"it holds the status {text!r}")
    return status


def is_time(value: object) -> bool:
    """Whether this is a moment that a report can hold, in seconds since the epoch."""
    return type(value) is float and 0.0 <= value <= _LATEST


def bound(outcome: Outcome) -> dict[str, Any]:
    """An outcome as it is stored."""
    return {
        "key": outcome.key,
        "status": outcome.status,
        "message": _storable(outcome.message),
        "errors": _storable(json.dumps(outcome.errors, ensure_ascii=False)) if outcome.errors else None,
        "mid": None if outcome.mid is None else _storable(outcome.mid),
        "http_status": outcome.http_status,
        "time": outcome.time,
        "seconds": outcome.seconds,
    }


def _storable(text: str) -> str:
    # A foreign text with half a character in it, or a NUL, must not make a verdict unwritable.
    return text.encode("utf-8", "replace").decode().replace("\0", "?")


def _is_sound(values: Sequence[Any], column: _Column) -> bool:
    kinds, most = column
    found = set(map(type, values))
    if not found.issubset(kinds):
        return False
    numbers = values if NoneType not in found else [value for value in values if value is not None]
    return most is None or not numbers or (min(numbers) >= 0 and max(numbers) <= most)


def _errors(text: str | None) -> tuple[str, ...] | None:
    """The list of texts that was stored; None if this is none."""
    if not text:
        return ()
    try:
        found = tuple(json.loads(text))
    except (TypeError, ValueError):
        return None
    return found if all(isinstance(item, str) for item in found) else None
