"""Reports as Parquet: one file, or a part of several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbobatch.arrow import arrow_table, remember_types, remembered_types, table_types
from turbobatch.errors import CampaignError
from turbobatch.recipients import is_text, open_table
from turbobatch.results import RESULT_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa


def write_parquet(chunks: Iterable[pd.DataFrame], path: Path, schema: pa.Schema | None = None) -> pa.Schema | None:
    """Write a file of exactly `schema`, or of the types that the first chunk has and carries; tells them.

    Raises:
        CampaignError: a column has values that can't be written, or not as that type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for chunk in chunks:
            table = arrow_table(chunk, remembered_types(chunk) | _result_types(), schema)
            schema = table.schema
            writer = writer or pq.ParquetWriter(path, schema, compression="zstd")
            writer.write_table(table)
    except pa.ArrowException as error:
        raise CampaignError(f"a column's type can't be written as Parquet ({error}): write a .csv report") from error
    finally:
        if writer is not None:
            writer.close()
    return schema


def parquet_frames(path: Path, rows: int) -> Iterator[pd.DataFrame]:
    """A file, or a folder of files, as frames of at most so many rows; at least one.

    Raises:
        CampaignError: it can't be read, or the folder holds files of text.
    """
    # Read as recipients are: integers with gaps stay integers.
    table = open_table(path)
    if is_text(table):
        raise CampaignError(f"{path} is no report: a folder that is one holds .parquet files")
    types = table_types(table)
    empty = True
    for chunk in table.chunks(rows):
        empty = False
        yield remember_types(chunk.frame(), types)
    if empty:
        yield remember_types(types.empty_table().to_pandas(), types)


def _result_types() -> dict[str, Any]:
    import pyarrow as pa

    text = pa.string()
    return dict.fromkeys(RESULT_COLUMNS, text) | {
        "send_errors": pa.list_(text),
        "send_http_status": pa.int16(),
        "send_attempts": pa.int16(),
        "send_time": pa.timestamp("us", tz="UTC"),
        "send_seconds": pa.float64(),
    }
