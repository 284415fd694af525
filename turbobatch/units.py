"""Rows → units, one for each email: grouping, keys, duplicates.

Sending and reporting both walk the table through here, so that a row's key and fate are decided in one place.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from turbobatch.addresses import holds_control
from turbobatch.errors import CampaignError, did_you_mean
from turbobatch.policy import Status
from turbobatch.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from turbobatch.merge import Merged, Merger
    from turbobatch.recipients import Chunk, Table

_CHUNK = 2000  # rows
_STEADY = (str, int, float, Decimal, UUID, date, time)  # what reads the same in every run


# Units and findings are named tuples: a table makes millions of them, and a frozen dataclass takes three times as long.


class Unit(NamedTuple):
    """The row or group of rows that makes one email. `number` is its first row, from 0, and `line` that row's line."""

    number: int
    values: tuple[Any, ...]
    table: Table
    line: int | None = None
    rows: tuple[tuple[Any, ...], ...] | None = None  # of a group

    @property
    def size(self) -> int:
        """How many rows share its verdict."""
        return len(self.rows) if self.rows is not None else 1

    @property
    def where(self) -> str:
        """The first row, as a message names it."""
        return self.table.where(self.number, self.line)


class Finding(NamedTuple):
    """What can be told of a unit without the journal: its key, or why it has none or may not use it."""

    unit: Unit
    key: str | None = None
    merged: Merged | None = None  # where finding the key took a merge
    status: Status | None = None  # `invalid` or `duplicate`; None: the journal decides
    message: str = ""
    errors: tuple[str, ...] = ()

    def merged_by(self, merger: Merger) -> Merged:
        """What the unit becomes, merged now unless it is already."""
        return self.merged or merger.merge(self.unit.values, self.unit.rows)


@dataclass(frozen=True)
class Layout:
    """Which of the table's columns make the key and the groups."""

    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    group_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for role, names in (("key", self.key), ("group_by", self.group_by)):
            for name in names:
                if name not in self.columns:
                    raise CampaignError(
                        f"{role} names column {name!r}, which the table hasn't: {did_you_mean(name, self.columns)}"
                    )

    def key_of(self, values: Sequence[Any]) -> str | None:
        """The key that the key columns make; None if one is blank."""
        return _joined(values, self.key_places)

    def group_of(self, values: Sequence[Any]) -> str | None:
        """What tells the row's group; None if a column is blank."""
        return _joined(values, self._group_places)

    @cached_property
    def key_places(self) -> tuple[int, ...]:
        """Where in a row the key columns are."""
        return self._places(self.key)

    @cached_property
    def _group_places(self) -> tuple[int, ...]:
        return self._places(self.group_by)

    def _places(self, names: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(self.columns.index(name) for name in names)


class Source(NamedTuple):
    """A table with the merge bound to its columns."""

    table: Table
    layout: Layout
    merger: Merger

    def find(self) -> Iterator[Finding]:
        """Walk the table's units."""
        return find(self.table, self.layout, self.merger)


def find(table: Table, layout: Layout, merger: Merger) -> Iterator[Finding]:
    """Walk the table's units, each with its key or why it has none."""
    return map(Finder(layout, merger), units(table, layout))


def units(table: Table, layout: Layout) -> Iterator[Unit]:
    """Walk the table in order; a group comes when its last row has, wherever its rows are."""
    if layout.group_by:
        yield from _groups(table, layout)
        return
    for chunk in table.chunks(_CHUNK):
        yield from units_of_chunk(table, chunk)


def units_of_chunk(table: Table, chunk: Chunk) -> Iterator[Unit]:
    """The units of some rows of a table that has no groups."""
    for index, values in enumerate(chunk.rows()):
        yield Unit(chunk.start + index, values, table, chunk.line(index))


def _groups(table: Table, layout: Layout) -> Iterator[Unit]:
    last = Spill[int]()  # rows, by group
    for chunk in table.chunks(_CHUNK):
        for index, cells in enumerate(zip(*(chunk.column(name) for name in layout.group_by), strict=True)):
            group = _joined(cells, range(len(cells)))
            if group is not None:
                last[group] = chunk.start + index
    # Only groups that have begun and not ended are held.
    begun: dict[str, tuple[int, int | None, list[tuple[Any, ...]]]] = {}
    for chunk in table.chunks(_CHUNK):
        for index, values in enumerate(chunk.rows()):
            number = chunk.start + index
            line = chunk.line(index)
            group = layout.group_of(values)
            if group is None:
                yield Unit(number, values, table, line, (values,))
                continue
            first, first_line, rows = begun.setdefault(group, (number, line, []))
            rows.append(values)
            if number == _last_row(last, group, table):
                del begun[group]
                yield Unit(first, rows[0], table, first_line, tuple(rows))
    if begun:
        raise changed(table)


def _last_row(last: Spill[int], group: str, table: Table) -> int:
    try:
        return last[group]
    except KeyError:
        raise changed(table) from None


def changed(table: Table) -> CampaignError:
    """What to raise where two readings of a table differ. A file's version tells it before; a DataFrame has none."""
    return CampaignError(f"{table.name} was changed while it was in use")


@dataclass(slots=True)
class Finder:
    """Finds each unit's key, and refuses a key that an earlier unit has. Keeps the keys it has seen."""

    layout: Layout
    merger: Merger
    _seen: Spill[int] = field(default_factory=Spill)  # first rows, by key

    def __call__(self, unit: Unit) -> Finding:
        """Look at the next unit; units must come in the order of `units()`."""
        merged = None
        if self.layout.group_by and self.layout.group_of(unit.values) is None:
            return self._unusable(unit, "group_by", self.layout.group_by)
        if self.layout.key:
            key = self.layout.key_of(unit.values)
            if key is None or holds_control(key) or not self._is_steady(unit.values):
                return self._unusable(unit, "key", self.layout.key)
            if any(self.layout.key_of(row) != key for row in unit.rows or ()):
                return self._split(unit)
        else:
            merged = self.merger.merge(unit.values, unit.rows)
            if merged.digest is None:
                return invalid(unit, None, merged)
            key = merged.digest
        first = self._seen.setdefault(key, unit.number)
        if first != unit.number:
            return Finding(unit, key, status=Status.DUPLICATE, message=f"{unit.where}: same key as row {first}")
        return Finding(unit, key, merged)

    def has(self, key: str) -> bool:
        """Whether a unit of this key has come."""
        return key in self._seen

    def _is_steady(self, values: Sequence[Any]) -> bool:
        """Whether the key cells are of kinds that read the same in every run."""
        return all(isinstance(values[place], _STEADY) for place in self.layout.key_places)

    def _split(self, unit: Unit) -> Finding:
        # The first row's key would be the group's, and another one after the table is sorted anew.
        names = ", ".join(map(repr, self.layout.key))
        error = f"the key {names} differs within the group"
        cure = "make it the same in all of the group's rows, or name another key"
        return Finding(unit, status=Status.INVALID, message=f"{unit.where}: {error}; {cure}", errors=(error,))

    def _unusable(self, unit: Unit, role: str, names: tuple[str, ...]) -> Finding:
        texts = {name: _text(unit.values[self.layout.columns.index(name)]) for name in names}
        blank = next((name for name, text in texts.items() if not text), None)
        cells = {name: unit.values[self.layout.columns.index(name)] for name in names}
        odd = next((name for name, cell in cells.items() if not isinstance(cell, _STEADY)), None)
        if blank is not None:
            error, cure = f"column {blank!r} is blank, and it is the {role}", "fill the cell"
        elif odd is not None:
            error = f"column {odd!r} holds a {type(cells[odd]).__name__}, which makes no {role}"
            cure = "put text or a number there"
        else:
            name = next(name for name, text in texts.items() if holds_control(text))
            error = f"column {name!r} holds a line break or control character, and it is the {role}"
            cure = "remove it"
        return Finding(unit, status=Status.INVALID, message=f"{unit.where}: {error}; {cure}", errors=(error,))


def invalid(unit: Unit, key: str | None, merged: Merged) -> Finding:
    """The finding for a unit that couldn't be merged."""
    message = f"{unit.where}: " + "; ".join(map(str, merged.problems))
    return Finding(unit, key, merged, Status.INVALID, message, tuple(item.error for item in merged.problems))


def _joined(values: Sequence[Any], places: Sequence[int]) -> str | None:
    if len(places) == 1:
        return _text(values[places[0]]) or None
    texts = [_text(values[place]) for place in places]
    if not all(texts):
        return None
    return "|".join(text.replace("\\", "\\\\").replace("|", "\\|") for text in texts)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    # The same cell must make the same key however the table was read: pandas turns 7 into 7.0 beside a gap.
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime):
        return value.isoformat(" ").removesuffix(" 00:00:00")  # as pandas writes them into a CSV file
    if isinstance(value, date):
        return value.isoformat()
    return "" if value is None else str(value).strip()
