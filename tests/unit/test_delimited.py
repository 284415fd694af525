"""Delimited text is what pandas would write, byte for byte."""

from __future__ import annotations

import datetime as dt
import io
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from turbobatch import delimited as delimited_module
from turbobatch.delimited import write_delimited
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

ROWS = 4
TEXTS = st.text(st.sampled_from('\r\n",;\t a\0é\ud800'), max_size=3)
WHOLE = st.text(st.sampled_from('\r\n",;\t a\0é'), max_size=3)  # what pandas' own texts can hold
MOMENTS = st.sampled_from(["2026-11-01", "2026-11-01 09:30:00", "2026-11-02 00:00:00.000001", None])
FLOATS = st.integers(0, 2**64 - 1).map(lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0])
ANYTHING = st.one_of(
    TEXTS, st.none(), st.booleans(), st.integers(), FLOATS,
    st.sampled_from([Decimal("1.50"), Status.SENT, dt.date(2026, 11, 1), ["a", "b"], b"x,y", pd.NaT, pd.NA]),
)  # fmt: skip

COLUMNS: dict[str, st.SearchStrategy[Any]] = {
    "object": ANYTHING,
    "str": WHOLE,
    "string": st.one_of(WHOLE, st.none()),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint8": st.integers(0, 255),
    "bool": st.booleans(),
    "float64": st.one_of(FLOATS, st.floats()),
    "float32": st.floats(width=32),
    "Int16": st.one_of(st.integers(-(2**15), 2**15 - 1), st.none()),
    "boolean": st.one_of(st.booleans(), st.none()),
    "Float64": st.one_of(st.floats(allow_nan=False), st.none()),
    "category": st.one_of(WHOLE, st.none()),
    "datetime64[us]": MOMENTS,
    "datetime64[ns, Europe/Rome]": MOMENTS,
    "timedelta64[ns]": st.integers(0, 10**15),
}


@st.composite
def frames(draw: st.DrawFn) -> pd.DataFrame:
    """Frames of any columns, some of them of the same name."""
    kinds = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=4))
    series = [pd.Series(draw(st.lists(COLUMNS[kind], min_size=ROWS, max_size=ROWS)), dtype=kind) for kind in kinds]
    frame = pd.concat(series, axis=1)
    names = draw(st.lists(st.one_of(TEXTS, st.integers(0, 3)), min_size=len(kinds), max_size=len(kinds)))
    frame.columns = pd.Index(names, dtype=object)
    return frame.iloc[: draw(st.sampled_from([ROWS, 1, 0]))]


def by_pandas(frame: pd.DataFrame, separator: str, *, header: bool = True) -> str:
    """What pandas writes, which quotes lone CRs where lines end with CRLF, with LF at the end of each line."""
    lines: list[str] = []

    class File:
        def write(self, line: str) -> None:
            lines.append(line.removesuffix("\r\n") + "\n")

    file: Any = File()
    frame.to_csv(file, index=False, sep=separator, header=header, lineterminator="\r\n")
    return "".join(lines)


def written(pieces: Sequence[pd.DataFrame], separator: str) -> str:
    file = io.StringIO(newline="")
    for number, piece in enumerate(pieces):
        write_delimited(piece, file, separator, header=number == 0)
    return file.getvalue()


@pytest.mark.unmeasured
@given(frames(), st.sampled_from(",;\t"))
@example(pd.DataFrame({"one": ["a\rb", "a\nb", 'a"b', "a,b", "a;b", "a\tb"], "two": [1, 2, 3, 4, 5, 6]}), ",")
@example(pd.DataFrame({"one": ["a;b", "\r"], "two": ["a,b", " a"]}), ";")
@example(pd.DataFrame({"one": ["", "a", ""]}), ",")
@example(pd.DataFrame({"one": [None, np.nan]}, dtype=object), ",")
@example(pd.DataFrame(index=range(2)), ",")
@example(pd.DataFrame({"one": pd.to_datetime(["", "2026-11-01"])}), ",")
def test_any_frame_is_written_as_pandas_would(frame: pd.DataFrame, separator: str) -> None:
    assert written([frame], separator) == by_pandas(frame, separator)


@pytest.mark.unmeasured
@given(frames(), st.integers(1, 5))
def test_long_frames_are_written_part_by_part(frame: pd.DataFrame, cells: int) -> None:
    """In the same parts as pandas does, which shows in columns of moments: those of whole days alone have no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(delimited_module, "_CELLS", cells)
        size = max(cells // frame.shape[1], 1)
        parts = [frame.iloc[:0], *(frame.iloc[start : start + size] for start in range(0, len(frame), size))]
        one_by_one = [by_pandas(part, ",", header=number == 0) for number, part in enumerate(parts)]
        assert written([frame], ",") == "".join(one_by_one)


def test_pandas_parts_are_of_the_same_size() -> None:
    """17 columns, and moments whose times begin where pandas' second part does."""
    size = 100_000 // 17
    days = pd.to_datetime(["2026-11-01 00:00"] * size + ["2026-11-01 09:30"] * 3)
    frame = pd.DataFrame({f"c{number}": days for number in range(17)})
    assert written([frame], ",") == by_pandas(frame, ",")
