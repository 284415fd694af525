"""A folder as one table: its files, in the order of the numbers in their names."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError
from turbobatch.recipients.table import file_errors, one_line
from turbobatch.recipients.text import TextTable
from turbobatch.recipients.version import FolderVersion, visible_names

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from turbobatch.recipients.parquet import ParquetTable
    from turbobatch.recipients.table import Chunk
    from turbobatch.recipients.version import FileVersion

    FileTable = TextTable | ParquetTable  # of one file

_FORMATS = {".parquet": "Parquet", ".pq": "Parquet", ".csv": "CSV", ".tsv": "TSV", ".txt": "text"}
_DIGITS = re.compile(r"([0-9]+)")
_PARTITION = re.compile(r"[^=]+=.*")  # how Hive, Spark and Dask name a folder of the rows with one value


@dataclass(frozen=True, slots=True, eq=False)
class PartsTable:
    """The files of a folder as one table, whose rows count through all of them.

    Attributes:
        parts: one table per file. Parquet files know the numbers of their first rows; of text files they show as the
            rows are read.
    """

    version: FolderVersion
    parts: tuple[FileTable, ...]
    _firsts: list[int] = field(default_factory=list, repr=False)  # the parts' first rows, as far as that is known

    @property
    def name(self) -> str:
        """The folder's name."""
        return one_line(self.version.path.absolute().name)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns' names, the same in all parts."""
        return self.parts[0].columns

    @property
    def schema(self) -> Any:
        """The types that all Parquet files have together; None of text files."""
        return getattr(self.parts[0], "schema", None)

    @property
    def is_text(self) -> bool:
        """Whether its files are text."""
        return isinstance(self.parts[0], TextTable)

    @property
    def about(self) -> int:
        """How many rows there are."""
        return sum(part.about for part in self.parts)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of all files."""
        return tuple(warning for part in self.parts for warning in part.warnings)

    def where(self, row: int, line: int | None = None) -> str:
        """Say where a row stands: "row 5003 (line 5 of part.1.csv)", "row 5003 (row 3 of part.1.parquet)"."""
        part = bisect_right(self._firsts, row) - 1
        return self.parts[part].where(row, line) if part >= 0 else f"row {row}"

    def chunks(self, size: int = 5000) -> Iterator[Chunk]:
        """Stream the rows, file by file.

        Raises:
            CampaignError: a file is malformed, or one was changed, added or removed since the table was opened.
        """
        self.version.check()
        first = 0
        for place, part in enumerate(self.parts):
            self._firsts[place : place + 1] = [first]  # at once, as several threads may read the table
            for chunk in replace(part, first=first).chunks(size):
                yield chunk
                first = chunk.start + len(chunk)
        self.version.check()


def open_folder(path: Path, encoding: str | None = None, delimiter: str | None = None) -> PartsTable:
    """Open a folder's files as one table. What hides, or begins with `_`, is none of them.

    Raises:
        CampaignError: there is no file, one is no part of a table, they have several formats, or their columns or types
            differ.
    """
    with file_errors(path):
        names = _part_names(path)
        version = FolderVersion.of(path, names)
    if _FORMATS[version.files[0].path.suffix.lower()] == "Parquet":
        return PartsTable(version, _parquet_parts(version.files))
    parts = []
    for item in version.files:
        with item.reading():
            parts.append(TextTable.open(item, encoding, delimiter))
    _check_columns(parts)
    return PartsTable(version, tuple(parts))


def _parquet_parts(files: Sequence[FileVersion]) -> tuple[ParquetTable, ...]:
    from turbobatch.recipients.parquet import ParquetTable, united

    parts = []
    for item in files:
        with item.reading():
            parts.append(ParquetTable.described(item))
    _check_columns(parts)
    return united(parts)


def _part_names(path: Path) -> list[str]:
    """The files, part.2 before part.10.

    Raises:
        OSError: the folder can't be read.
    """
    folder = one_line(path)
    names = sorted(visible_names(path), key=_natural)
    if not names:
        raise CampaignError(
            f"{folder} is a folder: name the file in it, or a folder of .parquet or .csv parts; this one has none"
        )
    for name in names:
        shown = one_line(name)
        if (path / name).is_dir() and _PARTITION.fullmatch(name):
            raise CampaignError(
                f"{folder} is a folder divided by a column ({shown}): name one file, or, if that is Parquet, give "
                "dask.dataframe.read_parquet(folder) in Python"
            )
        if (path / name).is_dir():
            raise CampaignError(
                f"{folder} is a folder: name the file in it; for a table in parts they must all lie side by side, "
                f"and {shown} is a folder too"
            )
        if (path / name).suffix.lower() not in _FORMATS or not (path / name).is_file():
            raise CampaignError(
                f"{folder} is a folder: name the file in it; for a table in parts it must hold .parquet, .csv, .tsv or "
                f".txt files alone, and {shown} is none"
            )
    first = names[0]
    for name in names[1:]:
        if _format(path / name) != _format(path / first):
            raise CampaignError(
                f"{folder} holds {one_line(first)} and {one_line(name)}: the parts of a table must have one format"
            )
    return names


def _format(path: Path) -> str:
    return _FORMATS[path.suffix.lower()]


def _natural(name: str) -> tuple[list[str | int], str]:
    """What sorts names by the numbers in them; texts and numbers take turns."""
    return [int(part) if place % 2 else part for place, part in enumerate(_DIGITS.split(name))], name


def _check_columns(parts: Sequence[FileTable]) -> None:
    first = parts[0]
    for part in parts[1:]:
        if part.columns == first.columns:
            continue
        missing = next((name for name in first.columns if name not in part.columns), None)
        strange = next((name for name in part.columns if name not in first.columns), None)
        if missing is not None:
            differs = f"{part.name} has no column {missing!r}, which {first.name} has"
        elif strange is not None:
            differs = f"{part.name} has a column {strange!r}, which {first.name} hasn't"
        else:
            ours, theirs = next(pair for pair in zip(part.columns, first.columns, strict=True) if pair[0] != pair[1])
            differs = f"{part.name} has column {ours!r} where {first.name} has {theirs!r}"
        raise CampaignError(f"{differs}: give all parts the same columns in the same order")
