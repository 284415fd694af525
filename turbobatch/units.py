"""Rows → units, one for each email: grouping, keys, duplicates.

Sending and reporting both walk the table through here, so that a row's key and fate are decided in one place.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from functools import cached_property
from itertools import chain, count, islice, repeat
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

from turbobatch.addresses import holds_control
from turbobatch.errors import CampaignError, did_you_mean
from turbobatch.policy import Status
from turbobatch.recipients.audited import AuditedTable
from turbobatch.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from turbobatch.merge import Merged, Merger
    from turbobatch.recipients import Chunk, Table

_CHUNK = 2000  # rows
_AT_ONCE = 500  # units that are held in a batch
_PART = re.compile(r"\|((?:\\.|[^\\|])*)", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
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
    batches = Finder(layout, merger, merged_at_once=1).batches(table)
    return chain.from_iterable(batch.findings for batch in batches)


def units(table: Table, layout: Layout) -> Iterator[Unit]:
    """Walk the table in order; a group comes when its last row has, wherever its rows are."""
    if layout.group_by:
        yield from _groups(table, layout)
        return
    for chunk in table.chunks(_CHUNK):
        yield from units_of_chunk(table, chunk)


def units_of_chunk(table: Table, chunk: Chunk) -> Iterator[Unit]:
    """The units of some rows of a table that has no groups."""
    lines = map(chunk.line, range(len(chunk)))
    return map(Unit, count(chunk.start), chunk.rows(), repeat(table), lines)


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


@dataclass(frozen=True, eq=False)
class Batch:
    """Some units that follow one another.

    Of a table that was sent the journal knows nearly every row by its key: so units and findings are made where
    somebody asks for them.

    Attributes:
        keys: what to ask the journal for, in the units' order; None for a unit that is invalid or a duplicate.
        sizes: how many rows share each unit's verdict.
    """

    keys: Sequence[str | None]
    sizes: Sequence[int]
    _make: Callable[[], Sequence[Finding]]

    @classmethod
    def of(cls, findings: Sequence[Finding]) -> Batch:
        """A batch of findings that are there already."""
        keys = [item.key if item.status is None else None for item in findings]
        return cls(keys, [item.unit.size for item in findings], lambda: findings)

    @cached_property
    def findings(self) -> Sequence[Finding]:
        """What can be told of each unit without the journal."""
        return self._make()


@dataclass(slots=True)
class Finder:
    """Finds each unit's key, and refuses a key that an earlier unit has. Keeps the keys it has seen.

    Args:
        merged_at_once: units of a batch where finding the key takes a merge: they are held with all attachments.
        elsewhere: of a part of a table, the first row of each key that an earlier part has: that key's first row there,
            and the key's digest, by which it is known that the row still has that key.
    """

    layout: Layout
    merger: Merger
    merged_at_once: int = 20
    elsewhere: Mapping[int, tuple[int, bytes]] = field(default_factory=dict)
    _seen: Spill[int] = field(default_factory=Spill)  # first rows, by key

    def batches(self, table: Table) -> Iterator[Batch]:
        """Walk the table's units."""
        if self.layout.group_by:
            yield from self._batches(units(table, self.layout), table)
            return
        for chunk in table.chunks(_CHUNK):
            yield from self.batches_of_chunk(table, chunk)

    def batches_of_chunk(self, table: Table, chunk: Chunk) -> Iterator[Batch]:
        """Walk the units of the next rows of a table that has no groups."""
        found = self._plain_keys(chunk) if not isinstance(table, AuditedTable) else None
        if found is None:
            yield from self._batches(units_of_chunk(table, chunk), table)
            return
        firsts = self._firsts(found, range(chunk.start, chunk.start + len(chunk)), table)

        def make() -> list[Finding]:
            return list(map(_told_apart, map(Finding, units_of_chunk(table, chunk), found), firsts))

        pairs = enumerate(zip(found, firsts, strict=True), chunk.start)
        keys = [key if first == number else None for number, (key, first) in pairs]
        yield Batch(keys, [1] * len(keys), make)

    def _plain_keys(self, chunk: Chunk) -> list[str] | None:
        """The rows' keys where every key cell is plain, as it mostly is; None where one needs a closer look."""
        columns = [_plain_texts(chunk.column(name)) for name in self.layout.key]
        texts = [column for column in columns if column is not None]
        return list(map(_key, zip(*texts, strict=True))) if texts and len(texts) == len(columns) else None

    def _batches(self, walk: Iterator[Unit], table: Table) -> Iterator[Batch]:
        at_once = _AT_ONCE if self.layout.key else self.merged_at_once
        while found := list(map(self.look_at, islice(walk, at_once))):
            keys = [item.key for item in found if item.key is not None]
            numbers = [item.unit.number for item in found if item.key is not None]
            firsts = iter(self._firsts(keys, numbers, table))
            yield Batch.of([_told_apart(item, next(firsts)) if item.key is not None else item for item in found])

    def _firsts(self, keys: Sequence[str], numbers: Sequence[int], table: Table) -> Sequence[int]:
        """The first row of each key, of the keys at these rows.

        Raises:
            CampaignError: a row hasn't the key any more that an earlier part has.
        """
        firsts = self._seen.setdefaults(keys, numbers)
        if not self.elsewhere:
            return firsts
        found = []
        for key, first in zip(keys, firsts, strict=True):
            first_of_all, digest = self.elsewhere.get(first, (first, None))
            if digest is not None and digest != key_digest(key):
                raise changed(table)
            found.append(first_of_all)
        return found

    def look_at(self, unit: Unit) -> Finding:
        """What can be told of a unit by itself: whether an earlier one has its key isn't asked."""
        merged = None
        if self.layout.group_by and self.layout.group_of(unit.values) is None:
            return self._unusable(unit, "group_by", self.layout.group_by)
        if (given := given_key(unit.table, unit.number)) is not None:
            return Finding(unit, given)
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
        texts = {name: key_text(unit.values[self.layout.columns.index(name)]) for name in names}
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


def _told_apart(found: Finding, first: int) -> Finding:
    unit, key = found.unit, found.key
    if first == unit.number:
        return found
    return Finding(unit, key, status=Status.DUPLICATE, message=f"{unit.where}: same key as row {first}")


def given_key(table: Table, row: int) -> str | None:
    """The key that a row of an audit was looked at under; it stays the row's, whatever its cells make of it now."""
    return (key_text(table.keys[row]) or None) if isinstance(table, AuditedTable) else None


def _joined(values: Sequence[Any], places: Sequence[int]) -> str | None:
    texts = [key_text(values[place]) for place in places]
    return _key(texts) if all(texts) else None


def _key(texts: Sequence[str]) -> str:
    if len(texts) == 1:
        return texts[0]
    return "|".join(text.replace("\\", "\\\\").replace("|", "\\|") for text in texts)


def key_digest(key: str) -> bytes:
    """A key's digest, 16 bytes."""
    return hashlib.blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def key_parts(key: str, count: int) -> list[str] | None:
    """What the key columns held of which a key was made; None if it was made of another number of columns."""
    if count == 1:
        return [key]
    parts = [_ESCAPED.sub(r"\1", part) for part in _PART.findall(f"|{key}")]
    return parts if len(parts) == count else None


def _plain_texts(cells: Sequence[Any]) -> list[str] | None:
    # The texts of cells that are all text or whole numbers and fit to make a key; else None.
    if not set(map(type, cells)) <= {str, int}:
        return None
    texts = [str(cell).strip() for cell in cells]
    return texts if all(texts) and not holds_control("".join(texts)) else None


def key_text(value: Any) -> str:
    """A cell as it stands in a key; empty where it is blank."""
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
