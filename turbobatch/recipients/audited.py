"""An audit that comes back as recipients, corrected by hand: the table that was sent, as far as it failed.

One row of that table may have several lines in its audit. They are united here, what was corrected in any of them wins,
and what can't be told for sure is an error: nothing is guessed about whom an email goes to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from turbobatch.addresses import split_list
from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from turbobatch.recipients.loaded import LoadedChunk
    from turbobatch.recipients.table import Table
    from turbobatch.recipients.version import Version

AUDIT_COLUMNS = ("address", "field", "status", "reason", "category", "suggestion", "send_key", "row")
"""What an audit has before the columns of the table that was sent."""

_OWN = "row."
_TELLTALE = {"category", "suggestion", "send_key"}  # no other table has all of these
_RARE = {"suggestion", "send_key"}
_MANY = 6  # so many of its columns are no coincidence, and one less with a rare one among them
_EXCEL = (".xlsx", ".xlsm")
_EXCEL_LENGTH = 32_767  # characters of a cell: a longer one was cut when the file was written
_MARKED = re.compile(r"'(?=[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20])")  # a cell that would have been a formula
_ABOUT_BLANKS = ("is blank", "missing recipients")
_WRITE_ANEW = "write it anew with `turbobatch audit`"


def audited_name(name: str) -> str:
    """What a column of the table is called in an audit, whose own names come first."""
    return f"{_OWN}{name}" if name in AUDIT_COLUMNS or str(name).startswith(_OWN) else name


def is_audit(table: Table) -> bool:
    """Whether a table is an audit, by its columns.

    Raises:
        CampaignError: it was one, and has lost some of them.
    """
    there = {name for name in AUDIT_COLUMNS if name in table.columns}
    missing = [name for name in AUDIT_COLUMNS if name not in there]
    if missing and (there >= _TELLTALE or len(there) + bool(there & _RARE) >= _MANY):
        raise CampaignError(
            f"{table.name} looks like an audit that has lost its column {missing[0]!r}: put it back, or {_WRITE_ANEW}"
        )
    return not missing


class _Line(NamedTuple):
    """One line of an audit: its place, where it stands in the file, and what it says of its row."""

    place: int
    where: str
    row: int
    address: str
    status: str
    reason: str
    key: Any
    cells: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class AuditedTable:
    """The rows of an audit, each once, in the order of the table that was sent, with that table's columns alone.

    Attributes:
        source: the audit, as any table.
        cells: one list per column.
        lines: where each row's first line stands in the file.
        rows: each row's number in the table that was sent.
        keys: each row's `send_key`, as the file has it now: what it is sent under, whatever its cells are.
        statuses: what had become of each row.
    """

    source: Table
    columns: tuple[str, ...]
    cells: tuple[list[Any], ...] = field(repr=False)
    data: pd.DataFrame = field(repr=False)
    lines: Sequence[int | None] = field(repr=False)
    rows: Sequence[int] = field(repr=False)
    keys: Sequence[Any] = field(repr=False)
    statuses: Sequence[str] = field(repr=False)
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The audit's name."""
        return self.source.name

    @property
    def about(self) -> int:
        """How many rows there are."""
        return len(self.lines)

    @property
    def version(self) -> Version | None:
        """The audit's file."""
        return self.source.version

    def where(self, row: int, line: int | None = None) -> str:
        """Say where a row stands."""
        return self.source.where(row, line)

    def chunks(self, size: int = 5000) -> Iterator[LoadedChunk]:
        """Slice the table."""
        from turbobatch.recipients.loaded import LoadedChunk

        if self.version is not None:
            self.version.check()
        for start in range(0, len(self.lines), size):
            yield LoadedChunk(self, start, min(start + size, len(self.lines)))

    def warned(self, *warnings: str) -> Self:
        """The same, with more to look at."""
        return replace(self, warnings=(*self.warnings, *warnings))

    def with_cells(self, changes: Mapping[int, Sequence[Any]]) -> Self:
        """The same with other texts in some rows, given whole."""
        cells = tuple(
            [changes[row][place] if row in changes else cell for row, cell in enumerate(column)]
            for place, column in enumerate(self.cells)
        )
        data = self.data.copy()
        for row, values in changes.items():
            for place, value in enumerate(values):
                if value != self.cells[place][row]:
                    data.iloc[row, place] = value
        return replace(self, cells=cells, data=data)

    def without_keys(self) -> Self:
        """The same as rows that were never sent."""
        return replace(self, keys=[None] * len(self.keys))

    def without(self, rows: Collection[int]) -> Self:
        """The same without some of its rows."""
        kept = [row for row in range(len(self.lines)) if row not in rows]
        return replace(
            self,
            cells=tuple([column[row] for row in kept] for column in self.cells),
            data=self.data.iloc[kept].reset_index(drop=True),
            lines=[self.lines[row] for row in kept],
            rows=[self.rows[row] for row in kept],
            keys=[self.keys[row] for row in kept],
            statuses=[self.statuses[row] for row in kept],
        )


def read_audit(table: Table) -> AuditedTable:
    """Read a table that `is_audit`, whole.

    Rows that are duplicates are left out: their keys belong to other rows.

    Raises:
        CampaignError: a line belongs to no row, or two lines about one row contradict each other.
    """
    own = [place for place, name in enumerate(table.columns) if name not in AUDIT_COLUMNS]
    read = _cell_reader(table)
    columns = tuple(str(read(table.columns[place], table.name)).removeprefix(_OWN) for place in own)
    if not columns:
        raise CampaignError(
            f"{table.name} has an audit's columns alone, none of the table that was sent: {_WRITE_ANEW}"
        )
    lines, numbers, frame = _read(table, own)
    rows: dict[int, list[_Line]] = {}
    for line in lines:
        rows.setdefault(line.row, []).append(line)
    kept = [found for _, found in sorted(rows.items()) if found[0].status != "duplicate"]
    united = [[_united(place, columns[place], found) for place in range(len(columns))] for found in kept]
    cells = [_with_addresses([line.cells[place] for place, line in enumerate(won)], columns, found)
             for won, found in zip(united, kept, strict=True)]  # fmt: skip
    duplicates = len(rows) - len(kept)
    told = f"{table.name}: {_rows(duplicates)} with the key of an earlier row left out"
    return AuditedTable(
        source=table,
        columns=columns,
        cells=tuple([row[place] for row in cells] for place in range(len(columns))),
        data=_data(frame.set_axis(list(columns), axis=1), united, cells),
        lines=[numbers[found[0].place] for found in kept],
        rows=[found[0].row for found in kept],
        keys=[found[0].key for found in kept],
        statuses=[found[0].status for found in kept],
        warnings=(*table.warnings, *([told] if duplicates else [])),
    )


def _read(table: Table, own: list[int]) -> tuple[list[_Line], list[int | None], pd.DataFrame]:
    """All lines, their numbers in the file, and the source's columns in their types."""
    import pandas as pd

    at = {name: table.columns.index(name) for name in AUDIT_COLUMNS}
    read = _cell_reader(table)
    lines: list[_Line] = []
    numbers: list[int | None] = []
    frames = []
    for chunk in table.chunks():
        frames.append(chunk.frame().iloc[:, own])
        for index, values in enumerate(chunk.rows()):
            numbers.append(chunk.line(index))
            place, where = len(lines), table.where(len(lines), numbers[-1])
            address, status, reason = (str(values[at[name]] or "").strip() for name in ("address", "status", "reason"))
            key = read(values[at["send_key"]], where)
            cells = tuple(read(values[column], where) for column in own)
            lines.append(_Line(place, where, _row(values[at["row"]], where), address, status, reason, key, cells))
    empty = pd.DataFrame(columns=[table.columns[place] for place in own], dtype=str)
    return lines, numbers, pd.concat(frames) if frames else empty


def _row(cell: Any, where: str) -> int:
    try:
        number = float(cell)
        if number == int(number) >= 0:
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise CampaignError(
        f"{where}: column 'row' has no number of a row of the table that was sent: put it back, or take the line out; "
        "new recipients go into a table of their own"
    )


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _cell_reader(table: Table) -> Callable[[Any, str], Any]:
    is_excel = table.version is not None and table.version.path.suffix.lower() in _EXCEL
    return _from_excel if is_excel else _as_it_is


def _as_it_is(cell: Any, _where: str) -> Any:
    return cell


def _from_excel(cell: Any, where: str) -> Any:
    """A cell as it was before it was made safe for Excel."""
    if not isinstance(cell, str):
        return cell
    if len(cell) >= _EXCEL_LENGTH:
        raise CampaignError(f"{where}: a cell is too long for Excel and was cut: write the audit as .csv or .parquet")
    return _MARKED.sub("", cell, count=1) if _MARKED.match(cell) else cell


def _united(place: int, column: str, lines: list[_Line]) -> _Line:
    """The line whose cell counts: copies that hold what failed lose against corrected ones."""
    first = lines[0]
    if all(line.cells[place] == first.cells[place] for line in lines[1:]):
        return first
    wrong = [(line, _wrong(line.cells[place], lines)) for line in lines]
    best = [line for line, found in wrong if not any(other < found for _, other in wrong)]
    for line in best[1:]:
        if line.cells[place] != best[0].cells[place]:
            raise CampaignError(
                f"{best[0].where} and {line.where} are about the same row, and column {column!r} differs in them: "
                "write the same in both"
            )
    return best[0]


def _wrong(cell: Any, lines: list[_Line]) -> frozenset[str]:
    """What of a cell the audit complains about."""
    if cell is None:
        return frozenset({""} if any(word in line.reason for word in _ABOUT_BLANKS for line in lines) else ())
    failed = {line.address for line in lines}
    return frozenset(
        text for text in _texts(cell) if text in failed or any(_is_quoted(text, line.reason) for line in lines)
    )


def _with_addresses(cells: list[Any], columns: Sequence[str], lines: list[_Line]) -> list[Any]:
    """A row's cells with what was corrected in the audit's own column `address` instead."""
    for line in lines:
        if not line.address or line.address in line.reason or line.status == "sent":
            continue
        holders = {
            place: old for place, cell in enumerate(cells) for old in _texts(cell) if _is_quoted(old, line.reason)
        }
        if len(holders) == 1:
            ((place, old),) = holders.items()
            cells[place] = _replaced(cells[place], old, line.address)
        elif holders or not any(line.address in _texts(cell) for cell in cells):
            named = [columns[place] for place in holders]
            cure = f"correct {' or '.join(map(repr, named))}" if named else "correct the table's own column"
            raise CampaignError(
                f"{line.where}: column 'address' was changed, which belongs to the audit: {cure} instead"
            )
    return cells


def _texts(cell: Any) -> list[str]:
    """A cell's text and the addresses in it, the longest last."""
    if not isinstance(cell, str):
        return []
    items = [cell.strip(), *split_list(cell)]
    inner = [item.rpartition("<")[2].rstrip("> ") for item in items if "<" in item]
    return sorted(filter(None, {*items, *inner}), key=len)


def _is_quoted(text: str, reason: str) -> bool:
    return f"'{text}'" in reason or ("@" in text and reason.startswith(f"{text} "))


def _replaced(cell: str, old: str, new: str) -> str:
    name, bracket, _ = old.rpartition("<")
    return cell.replace(old, f"{name}<{new}>" if bracket and name else new)


def _data(frame: pd.DataFrame, united: Iterable[Sequence[_Line]], cells: Sequence[Sequence[Any]]) -> pd.DataFrame:
    """The rows in their columns' own types; a column that a corrected text doesn't fit gets Python's objects."""
    import pandas as pd

    won = list(united)
    made: dict[str, Any] = {}
    for place, name in enumerate(frame.columns):
        column = frame.iloc[[line[place].place for line in won], place].reset_index(drop=True)
        changed = [row for row, line in enumerate(won) if line[place].cells[place] != cells[row][place]]
        if changed and not pd.api.types.is_string_dtype(column.dtype):
            column = column.astype(object)
        for row in changed:
            column.iloc[row] = cells[row][place]
        made[name] = column
    return pd.DataFrame(made, index=pd.RangeIndex(len(won)))
