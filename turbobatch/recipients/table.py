"""What every table and chunk can do, whatever the format, and the checks they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from turbobatch.addresses import CONTROL
from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import pandas as pd

    from turbobatch.recipients.version import Version

MAX_WHOLE = 2**53
"""Up to here a float holds every whole number, so a whole float may stand for an integer."""

DEEPEST = 48
"""Levels that a cell may be nested. Deeper ones break what comes later, at depths of their own: pyarrow reads no file
with more than 49 levels of lists, writes none with more than 128, and Python's recursion has its limit too."""


@runtime_checkable
class Chunk(Protocol):
    """Some consecutive rows of a table."""

    @property
    def start(self) -> int:
        """Number of the first row, from 0."""
        ...

    def __len__(self) -> int: ...

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the cells as plain Python values in column order; None where missing (NaN, None, NaT, NA, "")."""
        ...

    def column(self, name: str) -> list[Any]:
        """Return one column of `rows()` without converting the others. An unknown name is a KeyError."""
        ...

    def line(self, index: int) -> int | None:
        """Return the line (Excel: the sheet's row) on which a row begins, from 1; None for formats without lines.

        Args:
            index: the row's place in the chunk, from 0.
        """
        ...

    def frame(self) -> pd.DataFrame:
        """Return the rows with the table's own types, index and column names."""
        ...


@runtime_checkable
class Table(Protocol):
    """Rows that can be read again and again."""

    @property
    def name(self) -> str:
        """The table in a message: "receipts.csv" or "the DataFrame"."""
        ...

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names, each once."""
        ...

    @property
    def about(self) -> int | None:
        """How many rows there are; of a text file, an estimate by how it begins; None if that takes reading them."""
        ...

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should look at, one line each."""
        ...

    @property
    def version(self) -> Version | None:
        """The version of its file or folder that all rows come from; None for a table without one."""
        ...

    def chunks(self, size: int = 5000) -> Iterator[Chunk]:
        """Read the rows, from the first one, at most `size` at a time; a table without rows has no chunks.

        Raises:
            CampaignError: the file is malformed where it has been read to, or was changed since the table was opened.
        """
        ...

    def where(self, row: int, line: int | None = None) -> str:
        """Say where a row stands: "row 3 (line 5 of receipts.csv)". `row` counts from 0, `line` is Chunk.line's."""
        ...


def position(columns: Sequence[str], name: str) -> int:
    """Return a column's place. An unknown name is a KeyError."""
    try:
        return columns.index(name)
    except ValueError:
        raise KeyError(name) from None


def checked_columns(columns: Sequence[str], name: str) -> tuple[str, ...]:
    """Return the names if there are any and each stands only once.

    Raises:
        CampaignError: a name comes twice, or there is no column.
    """
    if not columns:
        raise CampaignError(f"{name} has no columns")
    again = [repr(column) for column, count in Counter(columns).items() if count > 1]
    if again:
        raise CampaignError(
            f"{name} has more than one column named {' and '.join(again)}: give each column its own name"
        )
    return tuple(columns)


def is_deep(value: Collection[Any]) -> bool:
    """Whether a list, dict or the like is nested more than DEEPEST levels, however deep; in cycles it is."""
    level = [value]
    for _ in range(DEEPEST):
        parts = [part for item in level for part in (item.values() if isinstance(item, dict) else item)]
        # Each once, or an item that holds another twice would double the work from level to level.
        level = list({id(part): part for part in parts if is_nested(part)}.values())
    return bool(level)


def is_nested(value: Any) -> bool:
    """Whether a cell holds others."""
    return isinstance(value, Collection) and not isinstance(value, (str, bytes, bytearray))


def too_deep(where: str) -> CampaignError:
    """The error about a cell that `is_deep`."""
    return CampaignError(f"{where} is nested more than {DEEPEST} levels deep: flatten it")


def one_line(text: object) -> str:
    """Write a foreign message, or a path, without line breaks and control characters."""
    return CONTROL.sub(" ", str(text)).strip()


@contextmanager
def file_errors(path: Path) -> Iterator[None]:
    """Turn the system's refusal to read a file into one line.

    Raises:
        CampaignError: for every OSError inside.
    """
    try:
        yield
    except OSError as error:
        raise CampaignError(f"{one_line(path)} can't be read: {one_line(error.strerror or error)}") from error
