"""Frames as delimited text, byte for byte as pandas would write them, in a fraction of the time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

_CELLS = 100_000  # of the rows that are text at the same time; pandas' own measure


def write_delimited(frame: pd.DataFrame, file: TextIO, separator: str, *, header: bool) -> None:
    """Write a frame's rows without its index, after a line of names if asked for; lines end with LF alone.

    Cells are quoted where they hold a separator, a quote or any line break.
    """
    if header:
        _by_pandas(frame.iloc[:0], lambda line: file.write(line + "\n"), separator, header=True)
    size = max(_CELLS // max(frame.shape[1], 1), 1)
    for start in range(0, len(frame), size):
        rows = frame.iloc[start : start + size]
        columns = [_column(rows, place, separator) for place in range(frame.shape[1])]
        if len(columns) == 1:  # a line of nothing would be no row
            columns = [[text or '""' for text in columns[0]]]
        lines = zip(*columns, strict=True) if columns else [()] * len(rows)
        file.write("".join([separator.join(cells) + "\n" for cells in lines]))


def _column(rows: pd.DataFrame, place: int, separator: str) -> list[str]:
    """The cells of a column, quoted."""
    texts = _texts(rows.iloc[:, place])
    if texts is not None:
        return _quoted(texts, separator)
    lines: list[str] = []
    _by_pandas(rows.iloc[:, [place]], lines.append, separator, header=False)
    return ["" if line == '""' else line for line in lines]


def _texts(cells: pd.Series[Any]) -> list[str] | None:
    """The texts of cells whose texts are Python's own, blank where missing; None of other kinds of columns."""
    import numpy as np
    import pandas as pd

    kind: Any = cells.dtype
    if isinstance(kind, pd.StringDtype):
        texts = cells.tolist()
        return [text if isinstance(text, str) else "" for text in texts] if cells.isna().any() else texts
    is_plain = isinstance(kind, np.dtype)
    if is_plain and kind.kind in "biu":
        return list(map(str, cells.tolist()))
    if kind == np.float64 and is_plain:
        return [repr(value) if value == value else "" for value in cells.tolist()]  # noqa: PLR0124 - NaN
    if kind.name in _INTEGERS_WITH_GAPS:
        return [str(value) if isinstance(value, int) else "" for value in cells.tolist()]
    if is_plain and kind.kind == "O":
        gaps = cells.isna().tolist()
        found = zip(cells.tolist(), gaps, strict=True)
        return ["" if gap else cell if isinstance(cell, str) else str(cell) for cell, gap in found]
    return None


_INTEGERS_WITH_GAPS = ("Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64")


def _quoted(texts: list[str], separator: str) -> list[str]:
    together = "".join(texts)
    special = [mark for mark in (separator, '"', "\r", "\n") if mark in together]
    if not special:
        return texts
    needs_quotes = re.compile(f"[{re.escape(''.join(special))}]").search
    return ['"' + text.replace('"', '""') + '"' if needs_quotes(text) else text for text in texts]


class _Lines:
    """Hands on lines without their ends. pandas is told CRLF, or it wouldn't quote a cell that holds a lone CR."""

    def __init__(self, take: Callable[[str], object]) -> None:
        self._take = take

    def write(self, line: str) -> None:
        self._take(line[:-2])


def _by_pandas(frame: pd.DataFrame, take: Callable[[str], object], separator: str, *, header: bool) -> None:
    lines: Any = _Lines(take)
    frame.to_csv(lines, index=False, header=header, sep=separator, lineterminator="\r\n")
