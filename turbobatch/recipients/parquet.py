"""Parquet files, streamed by pyarrow."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from turbobatch.errors import CampaignError
from turbobatch.recipients.frame import plain_cells, whole_numbers
from turbobatch.recipients.table import checked_columns, file_errors, one_line, position

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

    from turbobatch.recipients.version import FileVersion

_BUFFER = 65536
"""Bytes. Without a buffer of this kind pyarrow reads whole row groups, and with pre_buffer keeps all of them."""

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__")  # pandas' name for an index that has none


@dataclass(frozen=True, slots=True, eq=False)
class ParquetChunk:
    """A record batch of a Parquet table."""

    table: ParquetTable
    start: int
    batch: pa.RecordBatch

    def __len__(self) -> int:
        return int(self.batch.num_rows)

    def rows(self) -> list[tuple[Any, ...]]:
        """Return all cells as plain Python values."""
        return list(zip(*(self.column(name) for name in self.table.columns), strict=True))

    def column(self, name: str) -> list[Any]:
        """Return one column's cells as plain Python values."""
        position(self.table.columns, name)
        cells: list[Any] = self._converted(name, lambda array: _plain_cells(array, whole=name in self.table.whole))
        return cells

    def line(self, index: int) -> int | None:  # noqa: ARG002 - the signature is every chunk's
        """Return None: Parquet has no lines."""
        return None

    def frame(self) -> pd.DataFrame:
        """Return the rows in pandas' types, the same ones in every chunk.

        Integers and booleans of a column with nulls get pandas' nullable types, since a float or an object would
        change what is written out again.
        """
        series = {name: self._converted(name, self._series(name)) for name in self.table.columns}
        frame = pd.DataFrame(series)
        levels = [self._converted(name, self._series(name)) for name in self.table.index]
        if levels:
            arrays = [level.array for level in levels]
            frame.index = pd.Index(arrays[0]) if len(arrays) == 1 else pd.MultiIndex.from_arrays(arrays)
        else:
            frame.index = pd.RangeIndex(self.table.numbers[self.start : self.start + len(self)])
        return frame

    def _series(self, name: str) -> Callable[[pa.Array], pd.Series[Any]]:
        mapper = _nullable if name in self.table.gaps else None
        return lambda array: array.to_pandas(types_mapper=mapper)

    def _converted(self, name: str, convert: Callable[[pa.Array], Any]) -> Any:
        try:
            return convert(self.batch.column(name))
        except (ValueError, OverflowError, NotImplementedError) as error:
            where = f"{self.table.name}, column {name!r}, rows from {self.start} on"
            raise CampaignError(f"{where}: a value can't be read: {one_line(error)}") from error


@dataclass(frozen=True, slots=True, eq=False)
class ParquetTable:
    """A Parquet file.

    An index that pandas stored without a name is the frames' index and no column; one with a name is a column, as
    it is for every other reader of the file.

    Attributes:
        gaps: the columns that have, or may have, nulls.
        whole: the float columns that stand for integers with gaps, as for a DataFrame.
        index: the columns that are the frames' index, mostly none; else the rows have `numbers`.
        about: how many rows there are.
    """

    version: FileVersion
    schema: pa.Schema
    columns: tuple[str, ...]
    gaps: frozenset[str]
    whole: frozenset[str]
    index: tuple[str, ...]
    numbers: range
    about: int
    warnings: tuple[str, ...] = ()

    @classmethod
    def open(cls, version: FileVersion) -> Self:
        """Read the file's schema and statistics, and the float columns that have nulls.

        Raises:
            CampaignError: the file is no Parquet, or two columns have the same name.
        """
        name = one_line(version.path.name)
        with _opened(version.path) as file:
            schema = file.schema_arrow
            checked_columns(schema.names, name)
            index, numbers = _index(schema, file.metadata.num_rows)
            columns = checked_columns([column for column in schema.names if column not in index], name)
            gaps = _columns_with_nulls(file.metadata)
            whole = _whole_columns(file, gaps)
            return cls(version, schema, columns, gaps, whole, index, numbers, file.metadata.num_rows)

    @property
    def name(self) -> str:
        """The file's name."""
        return one_line(self.version.path.name)

    def where(self, row: int, line: int | None = None) -> str:  # noqa: ARG002 - the signature is every table's
        """Say where a row stands."""
        return f"row {row}"

    def chunks(self, size: int = 5000) -> Iterator[ParquetChunk]:
        """Stream the rows.

        Raises:
            CampaignError: the file is damaged, or was changed since it was opened.
        """
        start = 0
        with closing(self._batches(size)) as batches:
            while (batch := self._batch(batches)) is not None:
                if batch.num_rows:
                    yield ParquetChunk(self, start, batch)
                start += batch.num_rows

    def _batches(self, size: int) -> Generator[pa.RecordBatch, None, None]:
        with _opened(self.version.path) as file:
            yield from file.iter_batches(batch_size=size)

    def _batch(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        with self.version.reading():
            return next(batches, None)


@contextmanager
def _opened(path: Path) -> Iterator[pq.ParquetFile]:
    try:
        with file_errors(path), pq.ParquetFile(path, pre_buffer=False, buffer_size=_BUFFER) as file:
            yield file
    except pa.ArrowException as error:
        raise CampaignError(f"{one_line(path.name)} can't be read as Parquet: {one_line(error)}") from error


def _index(schema: pa.Schema, rows: int) -> tuple[tuple[str, ...], range]:
    """Find what pandas stored as the index: columns without a name, or a range of row numbers."""
    names, numbers = [], range(rows)
    try:
        for level in (schema.pandas_metadata or {}).get("index_columns", []):
            if isinstance(level, dict):
                numbers = range(level["start"], level["stop"], level["step"])
            elif _UNNAMED_INDEX.fullmatch(level) and level in schema.names:
                names.append(level)
    except (ValueError, TypeError, KeyError, AttributeError):
        return (), range(rows)  # the note isn't as pandas writes it; the rows don't depend on it
    return tuple(names), numbers if len(numbers) == rows else range(rows)


def _columns_with_nulls(metadata: pq.FileMetaData) -> frozenset[str]:
    """Find the columns that have nulls, or may have them for want of statistics."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    leaves = [group.column(index) for group in groups for index in range(group.num_columns)]
    statistics = ((leaf.path_in_schema, leaf.statistics) for leaf in leaves)
    return frozenset(path for path, found in statistics if not found or not found.has_null_count or found.null_count)


def _whole_columns(file: pq.ParquetFile, gaps: frozenset[str]) -> frozenset[str]:
    """Find the float columns that have nulls and else only whole numbers, in one pass over these columns."""
    floats = [field.name for field in file.schema_arrow if pa.types.is_floating(field.type) and field.name in gaps]
    whole, nulls = set(floats), set()
    for batch in file.iter_batches(columns=floats) if floats else ():
        for name in list(whole):
            array = batch.column(name)
            values = array.drop_null().to_numpy(zero_copy_only=False)
            present = values[values == values]  # noqa: PLR0124 - drops NaN
            if len(present) < len(array):
                nulls.add(name)
            if not whole_numbers(present):
                whole.discard(name)
    return frozenset(whole & nulls)


def _nullable(kind: pa.DataType) -> Any:
    """Map an Arrow type to pandas' nullable type; None where pandas' usual type can hold nulls."""
    if pa.types.is_boolean(kind):
        return pd.BooleanDtype()
    if pa.types.is_integer(kind):
        return pd.api.types.pandas_dtype(str(kind).replace("uint", "UInt").replace("int", "Int"))
    return None


def _plain_cells(array: pa.Array, *, whole: bool) -> list[Any]:
    kind = array.type
    if isinstance(kind, pa.BaseExtensionType) and kind.extension_name.startswith("pandas."):
        return plain_cells(array.to_pandas())
    values: list[Any] = array.to_pylist()
    if whole:
        return [int(value) if value == value and value is not None else None for value in values]  # noqa: PLR0124 - NaN
    if pa.types.is_floating(kind):
        return [value if value == value else None for value in values]  # noqa: PLR0124 - NaN
    if pa.types.is_integer(kind):
        return values
    return [value or None if value.__class__ is str else value for value in values]
