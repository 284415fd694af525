"""Tables of recipients: CSV, TSV, Parquet, Excel, JSON lines, a folder of parts or a DataFrame, as chunks of rows.

CSV and Parquet are streamed, so memory doesn't grow with the table; Excel and JSON lines are loaded whole. A Dask
DataFrame is computed partition by partition.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from turbobatch.errors import CampaignError
from turbobatch.recipients.parts import PartsTable, open_folder
from turbobatch.recipients.table import Chunk, Table, file_errors, one_line
from turbobatch.recipients.text import TextTable
from turbobatch.recipients.version import FileVersion

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

__all__ = ["Chunk", "Table", "is_dask", "is_text", "open_table"]

_TEXT = (".csv", ".tsv", ".txt")
_PARQUET = (".parquet", ".pq")
_EXCEL = (".xlsx", ".xlsm")
_JSON_LINES = (".jsonl", ".ndjson")


def open_table(
    recipients: pd.DataFrame | dd.DataFrame | Table | str | Path,
    *,
    encoding: str | None = None,
    delimiter: str | None = None,
    sheet: str | None = None,
) -> Table:
    """Open a table. The file's ending picks the format; a Table is returned as it is.

    Args:
        recipients: a DataFrame, a Dask DataFrame, the path of a file or of a folder of Parquet or text files, or a
            Table.
        encoding: of a text file, else found out: byte order mark, UTF-8, cp1252.
        delimiter: one character between the cells of a text file, else found out from its header.
        sheet: name of an Excel sheet, else the first.

    Options that a format doesn't have are ignored.

    Raises:
        CampaignError: the table can't be read; what is wrong further down a file shows while it is read.
    """
    if isinstance(recipients, str | Path):
        return _open_file(Path(recipients), encoding, delimiter, sheet)
    if _is_frame(recipients):
        from turbobatch.recipients.frame import FrameTable

        return FrameTable.of(recipients)
    if is_dask(recipients):
        from turbobatch.recipients.dask_frame import DaskTable

        return DaskTable.of(recipients)
    if isinstance(recipients, Table):
        return recipients
    raise CampaignError(f"recipients must be a DataFrame or the path of a file, not a {type(recipients).__name__}")


def is_text(table: Table) -> bool:
    """Whether a table's cells are all texts, as they stand in its files."""
    return isinstance(table, TextTable) or (isinstance(table, PartsTable) and table.is_text)


def is_dask(recipients: object) -> TypeGuard[dd.DataFrame]:
    """Whether this is a Dask DataFrame; Dask isn't imported to find out."""
    module: Any = sys.modules.get("dask.dataframe")
    return module is not None and isinstance(recipients, module.DataFrame)


def _open_file(path: Path, encoding: str | None, delimiter: str | None, sheet: str | None) -> Table:
    with file_errors(path):
        if path.is_dir():
            return open_folder(path, encoding, delimiter)
    _check_file(path)
    with file_errors(path):
        version = FileVersion.of(path)  # before anything is read
    with version.reading():
        return _open_version(version, encoding, delimiter, sheet)


def _open_version(version: FileVersion, encoding: str | None, delimiter: str | None, sheet: str | None) -> Table:
    ending = version.path.suffix.lower()
    if ending in _TEXT:
        return TextTable.open(version, encoding, delimiter)
    if ending in _PARQUET:
        from turbobatch.recipients.parquet import ParquetTable

        return ParquetTable.open(version)
    if ending in _EXCEL:
        from turbobatch.recipients.excel import open_excel

        return open_excel(version, sheet)
    if ending in _JSON_LINES:
        from turbobatch.recipients.jsonlines import open_json_lines

        return open_json_lines(version)
    known = " ".join(_TEXT + _PARQUET + _EXCEL + _JSON_LINES)
    name = one_line(version.path.name)
    raise CampaignError(f"{name} is no table that can be read: its name must end in one of {known}")


def _check_file(path: Path) -> None:
    with file_errors(path):
        if not path.exists():
            raise CampaignError(f"{one_line(path)} doesn't exist: check the path of the recipients")
        if not path.is_file():
            raise CampaignError(f"{one_line(path)} is no regular file: it is read more than once, so save it as one")


def _is_frame(recipients: object) -> TypeGuard[pd.DataFrame]:
    # Without pandas imported nothing can be a DataFrame, and importing it takes a second.
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(recipients, pandas.DataFrame)
