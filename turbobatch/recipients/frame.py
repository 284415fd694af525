"""A pandas DataFrame as a table, and the conversion of its columns to plain Python values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd

from turbobatch.errors import CampaignError
from turbobatch.recipients.table import MAX_WHOLE, checked_columns, is_deep, is_nested, position, too_deep

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

_SHARES_CELLS = int(pd.__version__.partition(".")[0]) < 3  # noqa: PLR2004 - a shallow copy follows later changes


@dataclass(frozen=True, slots=True, eq=False)
class FrameChunk:
    """Rows of a DataFrame. `whole` has the places of the float columns that stand for integers with gaps."""

    start: int
    columns: tuple[str, ...]
    slice: pd.DataFrame
    whole: frozenset[int]

    def __len__(self) -> int:
        return len(self.slice)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return all cells as plain Python values.

        Raises:
            CampaignError: one is nested too deeply.
        """
        return list(zip(*(self._cells(index) for index in range(len(self.columns))), strict=True))

    def column(self, name: str) -> list[Any]:
        """Return one column's cells as plain Python values."""
        return self._cells(position(self.columns, name))

    def line(self, index: int) -> int | None:  # noqa: ARG002 - the signature is every chunk's
        """Return None: a DataFrame has no lines."""
        return None

    def frame(self) -> pd.DataFrame:
        """Return the rows as they are in the DataFrame.

        Raises:
            CampaignError: a cell is nested too deeply.
        """
        for index in range(len(self.columns)):
            self._check_depth(index)
        return self.slice

    def _cells(self, index: int) -> list[Any]:
        self._check_depth(index)
        return plain_cells(self.slice.iloc[:, index], whole=index in self.whole)

    def _check_depth(self, index: int) -> None:
        cells = self.slice.iloc[:, index]
        if cells.dtype.kind == "O" and not isinstance(cells.dtype, pd.StringDtype):
            for place, cell in enumerate(cells):
                if cell.__class__ is not str and is_nested(cell) and is_deep(cell):
                    raise too_deep(f"row {self.start + place}, column {self.columns[index]!r} of the DataFrame")


@dataclass(frozen=True, slots=True, eq=False)
class FrameTable:
    """A DataFrame, or a part of one. Its index is no column.

    Attributes:
        first: the number of its first row.
        types: those of the whole one, by the column, where these rows alone couldn't tell them; None: they are whole.
    """

    data: pd.DataFrame
    columns: tuple[str, ...]
    whole: frozenset[int]
    name: str = "the DataFrame"
    warnings: tuple[str, ...] = ()
    version: None = None
    first: int = 0
    types: pa.Schema | None = None

    @property
    def about(self) -> int:
        """How many rows there are."""
        return len(self.data)

    @classmethod
    def of(cls, data: pd.DataFrame) -> Self:
        """Take a DataFrame; column names that are no text are turned into text.

        Raises:
            CampaignError: its columns have several levels, or two of them the same name.
        """
        if data.columns.nlevels > 1:
            raise CampaignError("the DataFrame's columns have more than one level: give each column one name")
        columns = checked_columns([str(column) for column in data.columns], "the DataFrame")
        whole = (index for index in range(len(columns)) if _is_whole_with_gaps(data.iloc[:, index]))
        # What the caller changes while a run goes on in the background doesn't reach it: pandas 3 copies on write.
        return cls(data.copy(deep=_SHARES_CELLS), columns, frozenset(whole))

    def where(self, row: int, line: int | None = None) -> str:  # noqa: ARG002 - the signature is every table's
        """Say where a row stands."""
        return f"row {row}"

    def chunks(self, size: int = 5000) -> Iterator[FrameChunk]:
        """Slice the DataFrame."""
        for start in range(0, len(self.data), size):
            yield FrameChunk(self.first + start, self.columns, self.data.iloc[start : start + size], self.whole)


def plain_cells(series: pd.Series[Any], *, whole: bool = False) -> list[Any]:
    """Return a column as plain Python values, None where missing or empty.

    Args:
        series: the column.
        whole: write floats as integers.
    """
    if isinstance(series.dtype, pd.StringDtype):
        return [text if isinstance(text, str) and text else None for text in series.tolist()]
    values = series.tolist()
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "biu":
        return values
    cells = zip(values, series.isna().tolist(), strict=True)
    if whole:
        return [None if gap else int(value) for value, gap in cells]
    return [None if gap else (value or None if value.__class__ is str else _plain_cell(value)) for value, gap in cells]


def whole_numbers(values: np.ndarray[Any, Any]) -> bool:
    """Whether floats, none of them missing, all stand for integers."""
    values = values.astype(np.float64)
    return bool((np.abs(values) < MAX_WHOLE).all() and (values == np.trunc(values)).all())


def _is_whole_with_gaps(series: pd.Series[Any]) -> bool:
    """Whether this is how pandas stores integers with gaps: numpy floats, NaN in between."""
    if not isinstance(series.dtype, np.dtype) or series.dtype.kind != "f":
        return False
    values = series.to_numpy()
    present = values[~np.isnan(values)]
    return len(present) < len(values) and whole_numbers(present)


def _plain_cell(value: Any) -> Any:
    value = _plain(value)
    return None if isinstance(value, str) and not value else value


def _plain(value: Any) -> Any:
    """Turn numpy's scalars and arrays, also nested ones, into Python's."""
    if isinstance(value, np.datetime64):
        return pd.Timestamp(value)
    if isinstance(value, np.timedelta64):
        return pd.Timedelta(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
