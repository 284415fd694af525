"""A row as templates see it: cells by column name or alias, missing cells as `Blank`."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from jinja2 import StrictUndefined, Undefined, UndefinedError
from jinja2.utils import missing

from turbobatch.merge.meter import MAX_BITS, spend

OPEN, CLOSE = "\ufdd0", "\ufdd1"
"""Enclose printed values in address fields. Unicode noncharacters: no text that is meant for others holds them."""

RESERVED = frozenset({"row", "rows"})

_MISSING_TYPES = frozenset({"NAType", "NaTType"})
_LISTED = 8


class BlankUsedError(UndefinedError):
    """A blank cell was called, calculated with or asked for an attribute. The message is the column."""


class UnknownColumnError(UndefinedError):
    """A template used a name that no column has. The message is the name."""


class Blank(Undefined):
    """A missing cell: falsy, empty, equal to "" and None, and replaced by `| default("…")`.

    Printing it gives nothing and leaves the column in `seen`, so that one rendering finds all of a row's blanks.
    """

    __slots__ = ("_seen",)

    def __init__(self, column: str, seen: list[str]) -> None:
        super().__init__(name=column, exc=BlankUsedError)
        self._seen = seen

    @property
    def _undefined_message(self) -> str:
        return str(self._undefined_name)

    def __str__(self) -> str:
        self._seen.append(str(self._undefined_name))
        return ""

    __repr__ = __str__  # a printed list shows its elements' repr

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Blank) or other is None or (isinstance(other, str) and not other)

    def __hash__(self) -> int:
        return hash("")

    def __round__(self, _places: int = 0) -> Any:
        self._fail_with_undefined_error()


class Unknown(StrictUndefined):
    """A name that no column has, or an attribute that a value lacks: fails when used, even in `{% if %}`."""

    __slots__ = ()

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: Any = None, exc: type[UndefinedError] = UndefinedError
    ) -> None:
        if hint is None and (obj is missing or isinstance(obj, Row)):
            super().__init__(hint=str(name), exc=UnknownColumnError)
        else:
            super().__init__(hint, obj, name, exc)


class Head:
    """What all rows of a table share: the columns and where each name leads."""

    __slots__ = ("columns", "index", "names")

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        own = {name: position for position, name in enumerate(self.columns)}
        short = _aliases(self.columns)
        self.index = own | short
        self.names = {name: own[name] for name in own if name.isidentifier() and name not in RESERVED} | short

    def column(self, name: str) -> str | None:
        """The column that `name` leads to, by itself or as an alias."""
        position = self.index.get(name)
        return None if position is None else self.columns[position]

    def hint(self, name: str) -> str:
        """What to do about a name that leads nowhere."""
        spelled = {column: f'row["{column}"]' for column in self.columns}
        spelled |= {self.columns[position]: repr(known) for known, position in self.names.items()}
        words = {_plain_word(known): said for column, said in spelled.items() for known in (column, said.strip("'"))}
        close = difflib.get_close_matches(_plain_word(name), words, n=1, cutoff=0.6)
        if close:
            return f"did you mean {words[close[0]]}?"
        listed = ", ".join(list(spelled.values())[:_LISTED]) + (", …" if len(spelled) > _LISTED else "")
        return f"the table has {listed}" if listed else "the table has no columns"


class Row(Mapping[str, Any]):
    """One row: `row["First Name"]` or `row.first_name`."""

    __slots__ = ("_head", "_values")

    def __init__(self, head: Head, values: tuple[Any, ...]) -> None:
        self._head = head
        self._values = values

    def __getitem__(self, name: str) -> Any:
        return self._values[self._head.index[name]]

    def __contains__(self, name: object) -> bool:
        return name in self._head.index

    def __iter__(self) -> Iterator[str]:
        return iter(self._head.columns)

    def __len__(self) -> int:
        return len(self._head.columns)

    def __repr__(self) -> str:
        shown = repr(dict(self))
        spend(len(shown))  # a list of rows doesn't tell how much text its rows hold
        return shown


def cell(value: Any, column: str, seen: list[str]) -> Any:
    """Turn a table's value into what templates get: `Blank` where it is missing, plain Python otherwise.

    Raises:
        OverflowError: a number has more digits than calculating with it could bear.
    """
    if isinstance(value, str):
        return unmarked(value) if value else Blank(column, seen)
    if is_missing(value):
        return Blank(column, seen)
    if hasattr(value, "tolist"):  # NumPy's arrays and scalars
        return cell(value.tolist(), column, seen)
    if isinstance(value, Mapping):
        return {unmarked(str(key)): cell(item, column, seen) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        # A set's own order differs from run to run.
        items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
        return [cell(item, column, seen) for item in items]
    return _bounded(value) if isinstance(value, (int, Decimal)) else value


def is_plain(value: Any) -> bool:
    """Whether `cell` would leave the value as it is, as it does with nearly all that a text file holds."""
    return value.__class__ is str and value != "" and OPEN not in value and CLOSE not in value


def unmarked(text: str) -> str:
    """The text without the characters that enclose printed values in address fields."""
    if OPEN in text or CLOSE in text:
        return text.replace(OPEN, "").replace(CLOSE, "")
    return text


def is_missing(value: Any) -> bool:
    """Whether a cell counts as empty: None, NaN, NaT, NA or empty text."""
    if isinstance(value, str):
        return not value
    if value is None or type(value).__name__ in _MISSING_TYPES:
        return True
    if isinstance(value, float):
        return math.isnan(value)
    is_nan = getattr(value, "is_nan", None)  # a Decimal's
    return bool(is_nan()) if callable(is_nan) else False


def _bounded(number: int | Decimal) -> int | Decimal:
    if (number.bit_length() if isinstance(number, int) else abs(number.adjusted())) > MAX_BITS:
        raise OverflowError("the number is too large")
    return number


def _aliases(columns: Iterable[str]) -> dict[str, int]:
    """Names for the columns that are no identifiers: `First Name` is also `first_name`, where that is unambiguous."""
    taken = RESERVED | set(columns)
    found: dict[str, list[int]] = {}
    for position, name in enumerate(columns):
        alias = re.sub(r"\W+", "_", name.lower())
        alias = f"_{alias}" if alias[:1].isdigit() else alias
        if alias.isidentifier() and not name.isidentifier() and alias not in taken:
            found.setdefault(alias, []).append(position)
    return {alias: positions[0] for alias, positions in found.items() if len(positions) == 1}


def _plain_word(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold() or name
