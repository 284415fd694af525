"""A table held in memory as Python values: what Excel and JSON lines are read into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import pandas as pd

from turbobatch.recipients.table import one_line, position

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    """Rows `start` to `stop` of a loaded table."""

    table: Loaded
    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def rows(self) -> list[tuple[Any, ...]]:
        """Return all cells."""
        return list(zip(*(values[self.start : self.stop] for values in self.table.cells), strict=True))

    def column(self, name: str) -> list[Any]:
        """Return one column's cells."""
        return self.table.cells[position(self.table.columns, name)][self.start : self.stop]

    def line(self, index: int) -> int | None:
        """Return the file's line, or the sheet's row, of a row."""
        return self.table.lines[self.start + index]

    def frame(self) -> pd.DataFrame:
        """Return the rows with the types that their whole columns have."""
        return self.table.data.iloc[self.start : self.stop]


@dataclass(frozen=True, slots=True, eq=False)
class LoadedTable:
    """Columns of Python values beside the same as a DataFrame.

    Attributes:
        cells: one list per column, None where missing.
        lines: where each row stands in the file.
        place: what `lines` count, and in what: ("line", "receipts.jsonl"), ("row", "the sheet").
    """

    version: FileVersion
    columns: tuple[str, ...]
    cells: tuple[list[Any], ...]
    data: pd.DataFrame
    lines: Sequence[int]
    place: tuple[str, str]
    warnings: tuple[str, ...] = ()

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
        return cls(version, tuple(columns), cells, data, lines, place, warnings)

    @property
    def name(self) -> str:
        """The file's name."""
        return one_line(self.version.path.name)

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
        for start in range(0, len(self.lines), size):
            yield LoadedChunk(self, start, min(start + size, len(self.lines)))


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
