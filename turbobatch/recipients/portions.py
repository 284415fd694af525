"""A table, divided: portions of rows that follow one another, which other processes open by themselves."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol

from turbobatch.errors import CampaignError
from turbobatch.recipients.audited import AuditedTable
from turbobatch.recipients.parts import PartsTable
from turbobatch.recipients.text import Span, TextTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from turbobatch.recipients.dask_frame import DaskForm
    from turbobatch.recipients.frame import FrameTable
    from turbobatch.recipients.loaded import LoadedTable
    from turbobatch.recipients.parquet import ParquetTable
    from turbobatch.recipients.parts import FileTable
    from turbobatch.recipients.table import Table

_BLOCK = 1000  # rows of a text file between two places where it may be divided
_ENOUGH = 4  # blocks a portion: with fewer, portions would be of too different sizes


class Portion(Protocol):
    """Rows of a table that follow one another. It can be pickled, and is small where the rows lie in a file."""

    @property
    def name(self) -> str:
        """What the rows are of, in a message: "part-3.csv"."""
        ...

    @property
    def rows(self) -> int | None:
        """How many there are; None if that takes reading them."""
        ...

    def open(self, first: int = 0) -> Table:
        """The table of these rows alone.

        What it calls its rows, and where it says they stand, is what the whole table would say.

        Args:
            first: how many rows come before them in the whole table.

        Raises:
            CampaignError: their file isn't there, or isn't the version that was divided.
        """
        ...


@dataclass(frozen=True, slots=True)
class FilePortion:
    """Rows of a file that every process finds under the same path."""

    table: TextTable | ParquetTable
    rows: int | None

    @property
    def name(self) -> str:
        """See Portion."""
        return self.table.name

    def open(self, first: int = 0) -> Table:
        """See Portion."""
        return replace(self.table, version=self.table.version.same_elsewhere(), first=first)


@dataclass(frozen=True, slots=True, eq=False)
class HeldPortion:
    """Rows that travel with the portion."""

    table: FrameTable | LoadedTable

    @property
    def name(self) -> str:
        """See Portion."""
        return self.table.name

    @property
    def rows(self) -> int:
        """See Portion."""
        return len(self.table.data)

    def open(self, first: int = 0) -> Table:
        """See Portion."""
        return replace(self.table, first=first)


@dataclass(frozen=True, slots=True, eq=False)
class DaskPortion:
    """A partition of a Dask DataFrame.

    Attributes:
        delayed: the partition, as a Delayed without anything of the others.
        form: what the partitions have in common.
        partition: which one it is, from 0.
    """

    delayed: Any = field(repr=False)
    form: DaskForm
    partition: int
    rows: None = None

    @property
    def name(self) -> str:
        """See Portion."""
        return f"partition {self.partition} of the Dask DataFrame"

    def open(self, first: int = 0) -> Table:
        """Compute the partition, in this thread, and see Portion."""
        from turbobatch.recipients.dask_frame import computed

        return self.computed(computed(self.delayed, self.name, scheduler="synchronous")).open(first)

    def computed(self, frame: pd.DataFrame) -> HeldPortion:
        """The same with the partition as it was computed elsewhere.

        Raises:
            CampaignError: it has other columns or types than the whole promises.
        """
        return HeldPortion(self.form.table(frame, self.partition))

    def emptied(self) -> DaskPortion:
        """The same without the partition, for who has it `computed` by other means."""
        return replace(self, delayed=None)


def portions(table: Table, wanted: int, *, whole_files: bool) -> tuple[Portion, ...]:
    """Divide a table into about so many portions or more, which together are the table, in its order.

    There are fewer only where there are too few rows. Dask's partitions are never divided, and neither are files, or a
    DataFrame, if `whole_files`.

    Raises:
        CampaignError: the table can't be divided, or a file can't be read.
    """
    if isinstance(table, AuditedTable):
        raise CampaignError("an audit that is given back is sent by one process: leave --on (on=) out")
    pieces = 1 if whole_files else max(wanted, 1)
    if isinstance(table, PartsTable):
        return tuple(portion for part, share in _shares(table, pieces) for portion in _of_file(part, share))
    if isinstance(table, TextTable):
        return tuple(_of_file(table, pieces))
    return _of_pandas(table, pieces)


def _shares(table: PartsTable, pieces: int) -> Iterator[tuple[FileTable, int]]:
    """How many pieces to make of each file: one where there are enough files, else by the rows that it has, about."""
    rows = [part.about for part in table.parts]
    for part, own in zip(table.parts, rows, strict=True):
        yield part, 1 if pieces <= len(rows) else max(-(-pieces * own // max(sum(rows), 1)), 1)


def _of_pandas(table: Table, pieces: int) -> tuple[Portion, ...]:
    """Divide a table that nobody has without pandas."""
    from turbobatch.recipients.frame import FrameTable
    from turbobatch.recipients.loaded import LoadedTable
    from turbobatch.recipients.parquet import ParquetTable

    if isinstance(table, ParquetTable):
        return tuple(_of_file(table, pieces))
    if isinstance(table, (FrameTable, LoadedTable)):
        return tuple(_held(table, pieces))
    if (found := _of_dask(table)) is not None:
        return found
    raise CampaignError(f"{table.name} can't be divided: give it as a file, a folder of files or a DataFrame")


def _of_dask(table: Table) -> tuple[Portion, ...] | None:
    try:
        from turbobatch.recipients.dask_frame import DaskTable
    except ImportError:  # then it is none
        return None
    if not isinstance(table, DaskTable):
        return None
    return tuple(DaskPortion(part, table.form, place) for place, part in enumerate(table.delayed()))


def _of_file(table: TextTable | ParquetTable, pieces: int) -> Sequence[Portion]:
    # Absolute: another process has a working directory of its own.
    table = replace(table, version=replace(table.version, path=table.version.path.absolute()))
    if not isinstance(table, TextTable):
        tables = table.divided(pieces) if pieces > 1 else [table]
        return [FilePortion(item, item.about) for item in tables]
    if pieces == 1:
        return [FilePortion(table, table.span.rows if table.span is not None else None)]
    return [FilePortion(replace(table, span=span), span.rows) for span in _spans(table, pieces)]


def _spans(table: TextTable, pieces: int) -> Sequence[Span]:
    enough = _ENOUGH * pieces
    block = max(min(table.about // (2 * enough), _BLOCK), 1)  # by half: it has fewer rows than it seems at times
    spans = table.spans(block)
    if len(spans) < enough and block > 1:
        return table.spans(max(sum(span.rows for span in spans) // pieces, 1))
    groups = [spans[start:stop] for start, stop in pairwise(_bounds(len(spans), pieces))]
    return [Span(group[0].place, sum(span.rows for span in group)) for group in groups]


def _held(table: FrameTable | LoadedTable, pieces: int) -> Sequence[Portion]:
    from turbobatch.recipients.arrays import mixed_types
    from turbobatch.recipients.loaded import LoadedTable

    types = table.types if table.types is not None else mixed_types(table.data, table.columns)
    found: list[Portion] = []
    for start, stop in pairwise(_bounds(len(table.data), pieces)):
        data = table.data.iloc[start:stop]
        if isinstance(table, LoadedTable):
            cells = tuple(column[start:stop] for column in table.cells)
            lines = table.lines[start:stop]
            part = replace(table, version=None, cells=cells, data=data, lines=lines, types=types)
            found.append(HeldPortion(part))
        else:
            found.append(HeldPortion(replace(table, data=data, types=types)))
    return found


def _bounds(count: int, pieces: int) -> list[int]:
    """Where to cut so many things into pieces of nearly the same size, both ends included."""
    pieces = max(min(pieces, count), 1)
    return [count * piece // pieces for piece in range(pieces + 1)]
