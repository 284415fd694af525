"""A frame's columns as Arrow has them, in the types of the table that they came from.

pandas has no type of its own for much that a Parquet file can hold (dates, decimals, lists), and a chunk without a
value tells no type at all. So the frames of a table carry its types along.
"""

from __future__ import annotations

import base64
import functools
from typing import TYPE_CHECKING

from turbobatch.errors import CampaignError
from turbobatch.recipients.arrays import arrow_column, mixed_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    import pyarrow as pa

    from turbobatch.recipients import Table

_ATTRIBUTE = "turbobatch.types"  # in DataFrame.attrs; a text, since pandas writes them into Parquet as JSON


def table_types(table: Table) -> pa.Schema:
    """The types of a table's columns, as far as a chunk of it alone couldn't tell them."""
    import pyarrow as pa

    types: pa.Schema | None = getattr(table, "types", None)  # of a part of a table in memory
    if types is not None:
        return types
    schema = getattr(table, "schema", None)  # a Parquet file's
    if schema is not None:
        return pa.schema([schema.field(name) for name in table.columns]).remove_metadata()
    data = getattr(table, "data", None)  # of a table in memory; one that is streamed otherwise is all text
    return mixed_types(data, table.columns) if data is not None else pa.schema([])


def remember_types(frame: pd.DataFrame, types: pa.Schema) -> pd.DataFrame:
    """Let a frame carry the types of columns, by name; it is changed and returned."""
    frame.attrs[_ATTRIBUTE] = base64.b64encode(types.serialize().to_pybytes()).decode()
    return frame


def remembered_types(frame: pd.DataFrame) -> dict[str, pa.DataType]:
    """The types that a frame carries; none if it came from elsewhere."""
    return _read_types(frame.attrs.get(_ATTRIBUTE, ""))


def arrow_table(frame: pd.DataFrame, types: Mapping[str, pa.DataType], schema: pa.Schema | None = None) -> pa.Table:
    """A frame as an Arrow table of `types` where it can be; one of exactly `schema`, if that is given.

    Raises:
        CampaignError: a column has values that its type in `schema` can't hold.
    """
    import pyarrow as pa

    columns = {}
    for place, name in enumerate(map(str, frame.columns)):
        cells = frame.iloc[:, place]
        wanted = schema.field(place).type if schema is not None else types.get(name)
        columns[name] = found = arrow_column(cells, wanted)
        if schema is not None and found.type != wanted:
            raise CampaignError(f"column {name!r} holds {found.type} beside {wanted}: write a .csv report")
    return pa.table(columns)


@functools.lru_cache(maxsize=8)
def _read_types(text: str) -> dict[str, pa.DataType]:
    import pyarrow as pa

    if not text:
        return {}
    schema = pa.ipc.read_schema(pa.BufferReader(base64.b64decode(text)))
    return {field.name: field.type for field in schema}
