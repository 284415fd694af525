"""A Dask DataFrame as a table: computed partition by partition, by whatever scheduler Dask uses at that moment."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
from dask.dataframe.dispatch import make_meta
from dask.delayed import Delayed, delayed

from turbobatch.errors import CampaignError
from turbobatch.recipients.frame import FrameTable, whole_numbers
from turbobatch.recipients.table import checked_columns, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator

    from turbobatch.recipients.frame import FrameChunk

_NAME = "the Dask DataFrame"


@dataclass(frozen=True, slots=True, eq=False)
class DaskForm:
    """What the partitions of a Dask DataFrame have in common; small, and for any process.

    Attributes:
        columns: their names as texts.
        meta: no rows, in the types that every partition has to have.
        whole: the places of the float columns that stand for integers with gaps, by all partitions together.
        types: what columns of objects and categories are where they are written: texts, for want of more.
    """

    columns: tuple[str, ...]
    meta: pd.DataFrame
    whole: frozenset[int]
    types: pa.Schema

    @classmethod
    def of(cls, data: Any) -> Self:
        """Look at a Dask DataFrame; float columns are computed once.

        Raises:
            CampaignError: its columns have several levels, two of them the same name, or it can't be computed.
        """
        meta = make_meta(data)
        if meta.columns.nlevels > 1:
            raise CampaignError("the Dask DataFrame's columns have more than one level: give each column one name")
        columns = checked_columns([str(column) for column in meta.columns], _NAME)
        loose = [
            place
            for place, kind in enumerate(meta.dtypes)
            if isinstance(kind, pd.CategoricalDtype) or pd.api.types.is_object_dtype(kind)
        ]
        types = pa.schema([(columns[place], pa.string()) for place in loose])
        return cls(columns, meta, _whole_floats(data, meta), types)

    def table(self, computed: pd.DataFrame, partition: int, first: int = 0) -> FrameTable:
        """A partition that was computed, as a table of its own.

        Raises:
            CampaignError: it has other columns or types than it should.
        """
        frame = _checked(computed, self.meta, f"partition {partition} of {_NAME}")
        return FrameTable(frame, self.columns, self.whole, _NAME, first=first, types=self.types)


@dataclass(frozen=True, slots=True, eq=False)
class DaskTable:
    """A Dask DataFrame, of which one partition at a time is held."""

    collection: Any = field(repr=False)
    form: DaskForm
    name: str = _NAME
    warnings: tuple[str, ...] = ()
    version: None = None
    about: None = None

    @classmethod
    def of(cls, collection: Any) -> Self:
        """Take a Dask DataFrame.

        Raises:
            CampaignError: its columns can't be a table's, or it can't be computed.
        """
        return cls(collection, DaskForm.of(collection))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names."""
        return self.form.columns

    @property
    def data(self) -> pd.DataFrame:
        """A DataFrame without rows, in the columns' types."""
        return self.form.meta

    @property
    def types(self) -> pa.Schema:
        """The types of columns that a chunk alone couldn't tell."""
        return self.form.types

    def where(self, row: int, line: int | None = None) -> str:  # noqa: ARG002 - the signature is every table's
        """Say where a row stands."""
        return f"row {row}"

    def chunks(self, size: int = 5000) -> Iterator[FrameChunk]:
        """Compute the partitions, one after the other, and slice them.

        Raises:
            CampaignError: one can't be computed, or has other columns or types than it should.
        """
        first = 0
        for partition in range(self.collection.npartitions):
            frame = computed(self.collection.partitions[partition], f"partition {partition} of {_NAME}")
            yield from self.form.table(frame, partition, first).chunks(size)
            first += len(frame)

    def delayed(self) -> list[Any]:
        """Each partition as a Delayed with nothing of the others in it."""
        found = []
        for partition in range(self.collection.npartitions):
            part = self.collection.partitions[partition].optimize()
            (key,) = part.__dask_keys__()
            found.append(Delayed(key, dict(part.__dask_graph__())))
        return found


def computed(lazy: Any, what: str, **options: Any) -> Any:
    """Compute something of Dask's.

    Raises:
        CampaignError: it can't be, whatever the reason.
    """
    try:
        return lazy.compute(**options)
    except Exception as error:
        # Whatever the functions raise that the user has put into it.
        raise CampaignError(f"{what} can't be computed: {type(error).__name__}: {one_line(error)}") from error


def _whole_floats(data: Any, meta: pd.DataFrame) -> frozenset[int]:
    """The float columns that have gaps and else only whole numbers: integers, as pandas stores them beside a gap."""
    floats = [place for place, kind in enumerate(meta.dtypes) if isinstance(kind, np.dtype) and kind.kind == "f"]
    if not floats:
        return frozenset()
    parts = data[[meta.columns[place] for place in floats]].to_delayed()
    told = computed(delayed([delayed(_gaps_and_whole)(part) for part in parts]), _NAME)
    found = zip(*told, strict=True)
    return frozenset(
        place
        for place, column in zip(floats, found, strict=True)
        if any(gaps for gaps, _ in column) and all(whole for _, whole in column)
    )


def _gaps_and_whole(frame: pd.DataFrame) -> list[tuple[bool, bool]]:
    """Of each column: whether there are gaps, and whether the rest are whole numbers."""
    columns = [frame.iloc[:, place].to_numpy(dtype=np.float64, na_value=np.nan) for place in range(frame.shape[1])]
    present = [column[~np.isnan(column)] for column in columns]
    return [(len(some) < len(column), whole_numbers(some)) for some, column in zip(present, columns, strict=True)]


def _checked(frame: pd.DataFrame, meta: pd.DataFrame, what: str) -> pd.DataFrame:
    """A partition in the types that the whole promises, where that changes no value."""
    if list(frame.columns) != list(meta.columns):
        raise CampaignError(f"{what} has other columns than the whole: {', '.join(map(str, frame.columns))}")
    other = [place for place, kind in enumerate(meta.dtypes) if not _agree(frame.dtypes.iloc[place], kind)]
    frame = frame.copy(deep=False) if other else frame
    for place in other:
        kind, cells = meta.dtypes.iloc[place], frame.iloc[:, place]
        is_text = isinstance(kind, pd.StringDtype) and pd.api.types.infer_dtype(cells, skipna=True) in {
            "string",
            "empty",
        }
        numpy = isinstance(kind, np.dtype) and isinstance(cells.dtype, np.dtype) and np.can_cast(cells.dtype, kind)
        if not is_text and not numpy and len(frame):
            raise CampaignError(
                f"{what}: column {str(meta.columns[place])!r} holds {cells.dtype}, but the whole promises {kind}: "
                "give it one type, with astype"
            )
        frame.isetitem(place, cells.astype(kind).array)
    return frame


def _agree(one: Any, other: Any) -> bool:
    return bool(one == other) or (isinstance(one, pd.CategoricalDtype) and isinstance(other, pd.CategoricalDtype))
