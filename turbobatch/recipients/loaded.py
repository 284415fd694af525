"""A table held in memory as Python values: what Excel and JSON lines are read into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import pandas as pd

from turbobatch.recipients.table import one_line, position

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from turbobatch.recipients.version import FileVersion


class Loaded(Protocol):
    """A table's columns of Python values beside the same as a DataFrame."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""
        ...

    @property
    def cells(self) -> tuple[list[Any], ...]:
        """One list per column, None where missing."""
        ...

    @property
    def data(self) -> pd.DataFrame:
        """The same in pandas' types."""
        ...

    @property
    def lines(self) -> Sequence[int | None]:
        """Where each row stands in the file."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class LoadedChunk:
    """The rows numbered `start` to `stop` of a loaded table, whose first one has the number `first`."""

    table: Loaded
    start: int
    stop: int
    first: int = 0

    def __len__(self) -> int:
        return self.stop - self.start

    def rows(self) -> list[tuple[Any, ...]]:
        """Return all cells."""
        return list(zip(*(values[self._places] for values in self.table.cells), strict=True))

    def column(self, name: str) -> list[Any]:
        """Return one column's cells."""
        return self.table.cells[position(self.table.columns, name)][self._places]

    def line(self, index: int) -> int | None:
        """Return the file's line, or the sheet's row, of a row."""
        return self.table.lines[self.start - self.first + index]

    def frame(self) -> pd.DataFrame:
        """Return the rows with the types that their whole columns have."""
        return self.table.data.iloc[self._places]

    @property
    def _places(self) -> slice:
        return slice(self.start - self.first, self.stop - self.first)


@dataclass(frozen=True, slots=True, eq=False)
class LoadedTable:
    """Columns of Python values beside the same as a DataFrame.

    Attributes:
        cells: one list per column, None where missing.
        lines: where each row stands in the file.
        place: what `lines` count, and in what: ("line", "receipts.jsonl"), ("row", "the sheet").
        version: the file's; None for a part of a table, which has left its file behind.
        first: the number of its first row.
        types: as FrameTable's.
    """

    name: str
    version: FileVersion | None
    columns: tuple[str, ...]
    cells: tuple[list[Any], ...]
    data: pd.DataFrame
    lines: Sequence[int]
    place: tuple[str, str]
    warnings: tuple[str, ...] = ()
    first: int = 0
    types: pa.Schema | None = None

    @classmethod
    def of(
        cls,
        version: FileVersion,
        columns: Mapping[str, list[Any]],
        lines: Sequence[int],
        *,
        place: tuple[str, str],
        warnings: tuple[str, ...] = (),
    ) -> Self:
        """Build the table from its columns' values as they were read."""
        data = pd.DataFrame({column: _typed(values) for column, values in columns.items()})
        cells = tuple([None if _is_missing(value) else value for value in values] for values in columns.values())
        return cls(one_line(version.path.name), version, tuple(columns), cells, data, lines, place, warnings)

    @property
    def about(self) -> int:
        """How many rows there are."""
        return len(self.lines)

    def where(self, row: int, line: int | None = None) -> str:
        """Say where a row stands."""
        unit, whole = self.place
        return f"row {row}" if line is None else f"row {row} ({unit} {line} of {whole})"

    def chunks(self, size: int = 5000) -> Iterator[LoadedChunk]:
        """Slice the table."""
        stop = self.first + len(self.lines)
        for start in range(self.first, stop, size):
            yield LoadedChunk(self, start, min(start + size, stop), self.first)


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value) or (isinstance(value, float) and value != value)  # noqa: PLR0124 - NaN


def _typed(values: list[Any]) -> pd.Series[Any]:
    """Give values the type that fits all of them. Integers and booleans with gaps become pandas' nullable types."""
    series: pd.Series[Any] = pd.Series(values, dtype=object)
    kinds = {type(value) for value in values}
    try:
        if kinds == {int, type(None)}:
            return series.astype("Int64")
        if kinds == {bool, type(None)}:
            return series.astype("boolean")
    except OverflowError:
        return series
    return series.infer_objects()
