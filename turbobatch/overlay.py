"""An audit's corrections laid over the table that was sent: what wasn't corrected is as it was there, in its types.

A text file of an audit has no types, and lines of a group may be missing in it: the table tells both, as long as its
row still has the key that the audit names.
"""

from __future__ import annotations

import csv
import re
from bisect import bisect_left
from dataclasses import dataclass, replace
from io import StringIO
from typing import TYPE_CHECKING, Any, NamedTuple

from turbobatch.delimited import write_delimited
from turbobatch.errors import CampaignError
from turbobatch.recipients import is_text
from turbobatch.units import Finder, Unit, given_key

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    import pandas as pd

    from turbobatch.recipients.audited import AuditedTable
    from turbobatch.units import Layout, Source

_WRITTEN = re.compile(r"(\d{4}-\d\d-\d\d) 00:00:00|(-?\d+)\.0")  # a day, or a whole number, in a column of others
_TEXTS = "values that were no texts are texts now (0 and False are true in templates, days may have hours)"
_WHOLE_GROUPS = "make sure that all lines of each group are there"


class _Row(NamedTuple):
    """A row of the table that was sent: its cells, the same as a text file has them, and where it stands."""

    cells: tuple[Any, ...]
    texts: list[str]
    line: int | None


@dataclass(frozen=True, slots=True)
class _Known:
    """Rows of the table that was sent, by their numbers, and the same in the table's types, with these as index."""

    rows: dict[int, _Row]
    frame: pd.DataFrame


def plain(cell: Any) -> Any:
    """A text without what a file adds to a day or a whole number among others."""
    written = _WRITTEN.fullmatch(cell) if isinstance(cell, str) else None
    return written[1] or written[2] if written else cell


def overlaid(table: AuditedTable, layout: Layout, original: Callable[[], Source | None]) -> AuditedTable:
    """The audit with cells of the table that was sent wherever they weren't corrected.

    Where that can't be done there is a warning of what to look for.

    Args:
        table: the audit.
        layout: the audit's.
        original: opens the table that was sent; None where there is none.

    Raises:
        CampaignError: lines of a group are missing.
    """
    try:
        sent = original()
        if sent is not None and not layout.group_by and is_text(sent.table) and is_text(table.source):
            return table  # texts over the same texts
        members = _members(sent, table.rows) if sent is not None else {}
        known = _read(sent, {row for rows in members.values() for row in rows}) if sent is not None else None
        same = set(_same(sent, table, members, known)) if sent is not None and known is not None else set()
    except CampaignError:  # it is another table now, or gone
        sent, known, members, same = None, None, {}, set()
    if sent is not None and known is not None and same:
        _check_whole(sent, table, members, known, same)
        table = _with_originals(table, sent, known, same)
    return table.warned(*_warnings(table, layout, sent, len(table.rows) - len(same)))


def _warnings(table: AuditedTable, layout: Layout, sent: Source | None, strange: int) -> Iterator[str]:
    if not strange:
        return
    rows = "1 row isn't" if strange == 1 else f"{strange:,} rows aren't"
    why = f"{rows} in {sent.table.name} as sent" if sent is not None else "the table that was sent isn't at hand"
    if is_text(table.source) and (sent is None or not is_text(sent.table)):
        yield f"{table.name}: {why}: {_TEXTS}"
    if layout.group_by:
        yield f"{table.name}: {why}: {_WHOLE_GROUPS}"


def _members(sent: Source, rows: Sequence[int]) -> dict[int, list[int]]:
    """All rows of the emails that these rows belong to, by each row; those that the table has."""
    if not sent.layout.group_by:
        return {row: [row] for row in rows}
    wanted = set(rows)
    groups = {number: group for number, group in _groups(sent) if number in wanted}
    by_group: dict[str | None, list[int]] = {group: [] for group in groups.values() if group is not None}
    for number, group in _groups(sent):
        if group in by_group:
            by_group[group].append(number)
    return {number: by_group.get(group, [number]) for number, group in groups.items()}


def _groups(sent: Source) -> Iterator[tuple[int, str | None]]:
    layout = sent.layout
    alone = replace(layout, columns=layout.group_by, key=())
    for chunk in sent.table.chunks():
        cells = zip(*(chunk.column(name) for name in layout.group_by), strict=True)
        yield from enumerate(map(alone.group_of, cells), chunk.start)


def _read(sent: Source, wanted: Collection[int]) -> _Known:
    import pandas as pd

    numbers = sorted(wanted)
    rows: dict[int, _Row] = {}
    frames = []
    for chunk in sent.table.chunks():
        picked = numbers[bisect_left(numbers, chunk.start) : bisect_left(numbers, chunk.start + len(chunk))]
        if not picked:
            continue
        cells, places = chunk.rows(), [number - chunk.start for number in picked]
        frame = chunk.frame().iloc[places].set_axis(picked)
        frames.append(frame)
        for number, place, texts in zip(picked, places, _texts(frame), strict=True):
            rows[number] = _Row(cells[place], texts, chunk.line(place))
    return _Known(rows, pd.concat(frames) if frames else pd.DataFrame())


def _texts(frame: pd.DataFrame) -> Iterable[list[str]]:
    """The rows as reports have them in text files."""
    file = StringIO(newline="")
    write_delimited(frame, file, ",", header=False)
    file.seek(0)
    return csv.reader(file)


def _same(sent: Source, table: AuditedTable, members: dict[int, list[int]], known: _Known) -> Iterator[int]:
    """The rows that have the key in the table that they have in the audit."""
    finder = Finder(sent.layout, sent.merger)
    keys: dict[int, str | None] = {}  # by an email's first row
    for place, row in enumerate(table.rows):
        if row not in known.rows:
            continue
        first = members[row][0]
        if first not in keys:
            of_group = tuple(known.rows[number].cells for number in members[row]) if sent.layout.group_by else None
            found = known.rows[first]
            keys[first] = finder.look_at(Unit(first, found.cells, sent.table, found.line, of_group)).key
        if keys[first] == given_key(table, place):
            yield row


def _check_whole(
    sent: Source, table: AuditedTable, members: dict[int, list[int]], known: _Known, same: Collection[int]
) -> None:
    there = set(table.rows)
    for place, row in enumerate(table.rows):
        missing = [number for number in members[row] if number not in there] if row in same else []
        if missing:
            where = sent.table.where(missing[0], known.rows[missing[0]].line)
            more = f" and {len(missing) - 1:,} more of them" if len(missing) > 1 else ""
            raise CampaignError(
                f"{table.where(place, table.lines[place])}: the email of this row is made of {len(members[row])} rows, "
                f"and {where}{more} has no line here: put it back, take out the others of its group, "
                "or write the audit anew"
            )


def _with_originals(table: AuditedTable, sent: Source, known: _Known, same: Collection[int]) -> AuditedTable:
    cells, data = [], table.data.copy()
    for place, name in enumerate(table.columns):
        if name not in sent.table.columns:
            cells.append(table.cells[place])
            continue
        at = sent.table.columns.index(name)
        column = list(table.cells[place])
        kept = {
            index
            for index, row in enumerate(table.rows)
            if row in same and _is_same(column[index], known.rows[row].cells[at], known.rows[row].texts[at])
        }
        data.isetitem(place, _typed(table, known.frame.iloc[:, at], place, kept))
        for index in kept:
            column[index] = known.rows[table.rows[index]].cells[at]
        cells.append(column)
    return replace(table, cells=tuple(cells), data=data)


def _is_same(cell: Any, before: Any, text: str) -> bool:
    """Whether a cell of an audit is what it was written from. Spreadsheets write TRUE, and whole numbers with .0."""
    if cell is None or before is None or isinstance(before, str):
        return (cell is None and before is None) or cell == before
    if not isinstance(cell, str):
        return isinstance(cell, bool) is isinstance(before, bool) and bool(cell == before)
    if isinstance(before, bool):
        return cell.lower() == text.lower()
    return cell in (text, str(before)) or plain(cell) in (plain(text), plain(str(before)))


def _typed(table: AuditedTable, before: pd.Series[Any], place: int, kept: Collection[int]) -> Any:
    """A column of the audit in the type that it had, as far as that holds what was corrected."""
    import pandas as pd

    if len(kept) == len(table.rows):
        return before.loc[list(table.rows)].reset_index(drop=True)
    own = table.data.iloc[:, place]
    if pd.api.types.is_string_dtype(before.dtype) and pd.api.types.is_string_dtype(own.dtype):
        return own
    objects: Any = before.astype(object)
    column = [objects.loc[table.rows[index]] if index in kept else cell for index, cell in enumerate(own)]
    return pd.Series(column, dtype=object)
