"""Parquet files, streamed by pyarrow."""

from __future__ import annotations

import re
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING, Any, Self

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from turbobatch.errors import CampaignError
from turbobatch.recipients.frame import plain_cells, whole_numbers
from turbobatch.recipients.table import checked_columns, file_errors, one_line, position

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
    from pathlib import Path

    from turbobatch.recipients.version import FileVersion

_BUFFER = 65536
"""Bytes. Without a buffer of this kind pyarrow reads whole row groups, and with pre_buffer keeps all of them."""

_UNNAMED_INDEX = re.compile(r"__index_level_\d+__|__null_dask_index__")
"""What pandas and Dask call an index that has no name."""


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
            frame.index = pd.RangeIndex(self.table.numbered(self.start, len(self)))
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
        blank: the columns that surely have nulls alone.
        whole: the float columns that stand for integers with gaps, as for a DataFrame.
        index: the columns that are the frames' index, mostly none; else the rows have `numbers`.
        numbers: as pandas stored them; None where the rows are numbered as in the table.
        about: how many rows there are.
        first: the number of its first row.
        begin: how many of the file's rows come before.
        is_part: whether the file is one of several, so that messages name it.
    """

    version: FileVersion
    schema: pa.Schema
    columns: tuple[str, ...]
    gaps: frozenset[str]
    blank: frozenset[str]
    whole: frozenset[str]
    index: tuple[str, ...]
    numbers: range | None
    about: int
    warnings: tuple[str, ...] = ()
    first: int = 0
    begin: int = 0
    is_part: bool = False

    @classmethod
    def open(cls, version: FileVersion) -> Self:
        """Read the file's schema and statistics, and the float columns that have nulls.

        Raises:
            CampaignError: the file is no Parquet, or two columns have the same name.
        """
        table = cls.described(version)
        whole, nulls = table.whole_floats(table.floats & table.gaps)
        return replace(table, whole=whole & nulls)

    @classmethod
    def described(cls, version: FileVersion) -> Self:
        """The same by the file's schema and statistics alone: which floats are whole isn't known yet."""
        name = one_line(version.path.name)
        with _opened(version.path) as file:
            schema = file.schema_arrow
            checked_columns(schema.names, name)
            index, numbers = _index(schema, file.metadata.num_rows)
            columns = checked_columns([column for column in schema.names if column not in index], name)
            gaps, blank = _columns_with_nulls(file.metadata)
            return cls(version, schema, columns, gaps, blank, frozenset(), index, numbers, file.metadata.num_rows)

    @property
    def floats(self) -> frozenset[str]:
        """The columns of floats."""
        return frozenset(field.name for field in self.schema if pa.types.is_floating(field.type))

    def whole_floats(self, names: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
        """Which of these columns of floats hold whole numbers alone, and which have nulls, in one pass over them."""
        whole, nulls = set(names), set()
        with _opened(self.version.path) as file:
            for batch in file.iter_batches(columns=sorted(names)) if names else ():
                for name in names & set(batch.schema.names):
                    array = batch.column(name)
                    if not pa.types.is_floating(array.type):  # nulls alone
                        nulls.add(name)
                        continue
                    values = array.drop_null().to_numpy(zero_copy_only=False)
                    present = values[values == values]  # noqa: PLR0124 - drops NaN
                    if len(present) < len(array):
                        nulls.add(name)
                    if not whole_numbers(present):
                        whole.discard(name)
        return frozenset(whole), frozenset(nulls)

    def divided(self, pieces: int) -> list[Self]:
        """About so many tables of rows that follow one another: whole row groups where there are enough of them."""
        with self.version.reading(), _opened(self.version.path) as file:
            ends = list(accumulate(_group_sizes(file)))
        stop = self.begin + self.about
        even = [self.begin + self.about * piece // pieces for piece in range(1, pieces)]
        inside = [end for end in ends if self.begin < end < stop]
        cuts = {min(inside, key=lambda end: abs(end - cut)) for cut in even} if len(inside) >= pieces - 1 else set(even)
        bounds = [self.begin, *sorted(cuts - {self.begin, stop}), stop]
        return [replace(self, begin=start, about=end - start) for start, end in pairwise(bounds)]

    @property
    def name(self) -> str:
        """The file's name."""
        return one_line(self.version.path.name)

    def where(self, row: int, line: int | None = None) -> str:  # noqa: ARG002 - the signature is every table's
        """Say where a row stands."""
        return f"row {row} (row {row - self.first + self.begin} of {self.name})" if self.is_part else f"row {row}"

    def numbered(self, start: int, count: int) -> range:
        """What the index of so many rows from number `start` on is, where no column is."""
        if self.numbers is None:
            return range(start, start + count)
        place = start - self.first + self.begin
        return self.numbers[place : place + count]

    def chunks(self, size: int = 5000) -> Iterator[ParquetChunk]:
        """Stream the rows.

        Raises:
            CampaignError: the file is damaged, or was changed since it was opened.
        """
        start = self.first
        with closing(self._batches(size)) as batches:
            while (batch := self._batch(batches)) is not None:
                if batch.num_rows:
                    yield ParquetChunk(self, start, batch)
                start += batch.num_rows

    def _batches(self, size: int) -> Generator[pa.RecordBatch, None, None]:
        with _opened(self.version.path) as file:
            groups, before = _groups_with(file, self.begin, self.begin + self.about)
            for batch in _cut(file.iter_batches(batch_size=size, row_groups=groups), before, self.about):
                yield batch if batch.schema.equals(self.schema) else batch.select(self.schema.names).cast(self.schema)

    def _batch(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        with self.version.reading():
            return next(batches, None)


def united(tables: Sequence[ParquetTable]) -> tuple[ParquetTable, ...]:
    """Tables of the same columns as parts of one, each with the types that all have together.

    Raises:
        CampaignError: two of them have different types in a column.
    """
    index = tables[0].index if all(table.index == tables[0].index for table in tables) else ()
    told = [table for table in tables if table.about] or tables[:1]  # a part without rows has any type
    schema = pa.schema([(name, _united_type(name, told)) for name in (*tables[0].columns, *index)])
    gaps = frozenset[str]().union(*(table.gaps for table in tables))
    candidates = gaps & {field.name for field in schema if pa.types.is_floating(field.type)}
    whole, nulls = candidates, frozenset[str]()
    for table in told if candidates else ():
        with table.version.reading():
            found = table.whole_floats(candidates)
        whole, nulls = whole & found[0], nulls | found[1]
    firsts = accumulate((table.about for table in tables), initial=0)
    common = {"schema": schema, "gaps": gaps, "whole": whole & nulls, "index": index, "numbers": None, "is_part": True}
    return tuple(replace(table, **common, first=first) for table, first in zip(tables, firsts, strict=False))


def _united_type(name: str, tables: Sequence[ParquetTable]) -> pa.DataType:
    kinds = [(table.schema.field(name).type, table) for table in tables]
    told = [item for item in kinds if name not in item[1].blank and not pa.types.is_null(item[0])] or kinds[:1]
    kind, first = told[0]
    for other, table in told[1:]:
        both = _common_type(kind, other)
        if both is None:
            raise CampaignError(
                f"{table.name}: column {name!r} holds {other}, but {kind} in {first.name}: "
                "write all parts with the same types"
            )
        kind = both
    return kind


def _common_type(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that two parts of a column have together, if it changes nothing: nulls fit all, texts fit texts."""
    kinds = pa.types
    if one.equals(other) or kinds.is_null(other):
        return one
    if kinds.is_null(one):
        return other
    if all(kinds.is_string(kind) or kinds.is_large_string(kind) for kind in (one, other)):
        return pa.large_string()
    if kinds.is_dictionary(one) and kinds.is_dictionary(other):
        inner = _common_type(one.value_type, other.value_type)
        return pa.dictionary(pa.int32(), inner) if inner is not None else None
    if kinds.is_list(one) and kinds.is_list(other):
        inner = _common_type(one.value_type, other.value_type)
        return pa.list_(inner) if inner is not None else None
    return None


def _group_sizes(file: pq.ParquetFile) -> list[int]:
    return [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]


def _groups_with(file: pq.ParquetFile, begin: int, stop: int) -> tuple[list[int], int]:
    """The row groups that hold the rows from `begin` to `stop`, and how many rows of the first one come before."""
    spans = list(pairwise(accumulate(_group_sizes(file), initial=0)))
    groups = [group for group, (first, end) in enumerate(spans) if first < stop and end > begin]
    return groups, begin - spans[groups[0]][0] if groups else 0


def _cut(batches: Iterable[pa.RecordBatch], before: int, rows: int) -> Iterator[pa.RecordBatch]:
    """So many rows, after those that come before."""
    for batch in batches:
        kept = batch.slice(min(before, batch.num_rows), rows)
        before = max(before - batch.num_rows, 0)
        rows -= kept.num_rows
        yield kept
        if not rows:
            return


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


def _columns_with_nulls(metadata: pq.FileMetaData) -> tuple[frozenset[str], frozenset[str]]:
    """Find the columns that have nulls, or may for want of statistics, and those that surely have nothing else."""
    groups = [metadata.row_group(index) for index in range(metadata.num_row_groups)]
    nulls: set[str] = set()
    blank: set[str] = set()
    values: set[str] = set()
    for leaf in (group.column(index) for group in groups for index in range(group.num_columns)):
        found, path = leaf.statistics, leaf.path_in_schema  # a nested column's path is no column's name
        is_told = found and found.has_null_count
        if not is_told or found.null_count:
            nulls.add(path)
        (blank if is_told and found.null_count == leaf.num_values else values).add(path)
    return frozenset(nulls), frozenset(blank - values)


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
