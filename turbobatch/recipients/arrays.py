"""A frame's columns as Arrow has them, also where their cells are of mixed types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import pyarrow as pa


def mixed_types(data: pd.DataFrame, columns: Sequence[str]) -> pa.Schema:
    """The types of the columns of Python objects, which some of the rows alone couldn't tell."""
    import pandas as pd
    import pyarrow as pa

    mixed = [place for place, kind in enumerate(data.dtypes) if pd.api.types.is_object_dtype(kind)]
    return pa.schema([(columns[place], arrow_column(data.iloc[:, place]).type) for place in mixed])


def arrow_column(cells: pd.Series[Any], wanted: pa.DataType | None = None) -> pa.Array:
    """Cells as an Arrow array of type `wanted` or of the type they show; mixed types become text."""
    import pyarrow as pa

    is_text = wanted is not None and (pa.types.is_string(wanted) or pa.types.is_large_string(wanted))
    for kind in (wanted, None) if wanted is not None and not is_text else (wanted,):
        try:
            found = _converted(cells, kind)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            continue
        # A column without a value tells no type, and text takes whatever comes.
        return found.cast(pa.string()) if pa.types.is_null(found.type) else found
    texts = [None if gap else _encodable(cell) for cell, gap in zip(cells, cells.isna(), strict=True)]
    return pa.array(texts, type=wanted if is_text else pa.string())


def _converted(cells: pd.Series[Any], wanted: pa.DataType | None) -> pa.Array:
    import pyarrow as pa

    if wanted is not None and pa.types.is_dictionary(wanted):
        plain = pa.Array.from_pandas(cells.astype(object), type=wanted.value_type)
        return plain.dictionary_encode().cast(wanted)
    found = pa.Array.from_pandas(cells, type=wanted)
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def _encodable(cell: Any) -> str:
    return str(cell).encode(errors="backslashreplace").decode()  # half a character has no UTF-8
