"""A table that is divided: each portion, opened anywhere, says of its rows what the whole table says."""

from __future__ import annotations

import codecs
import os
import pickle
import random
import subprocess
import sys
from dataclasses import replace
from encodings.aliases import aliases
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import dask.dataframe as dd
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turbobatch.arrow import table_types
from turbobatch.errors import CampaignError
from turbobatch.recipients import Table, open_table
from turbobatch.recipients.audited import AUDIT_COLUMNS, read_audit
from turbobatch.recipients.encodings import octets_in
from turbobatch.recipients.portions import DaskPortion, FilePortion, Portion, portions
from turbobatch.recipients.text import Place, Span, TextTable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Source = Callable[[pd.DataFrame, Path, Sequence[int]], Any]


# Sources of one table


def cut(frame: pd.DataFrame, cuts: Sequence[int]) -> list[pd.DataFrame]:
    return [frame.iloc[start:stop] for start, stop in pairwise([0, *cuts, len(frame)])]


def csv_file(frame: pd.DataFrame, folder: Path, _cuts: Sequence[int]) -> Path:
    (folder / "t.csv").write_text("sep=,\n" + frame.to_csv(index=False), encoding="utf-8-sig", newline="")
    return folder / "t.csv"


def csv_parts(frame: pd.DataFrame, folder: Path, cuts: Sequence[int]) -> Path:
    for number, part in enumerate(cut(frame, cuts)):
        part.to_csv(folder / f"part.{number}.csv", index=False)
    return folder


def parquet_file(frame: pd.DataFrame, folder: Path, cuts: Sequence[int]) -> Path:
    frame.set_index(pd.RangeIndex(7, 7 + len(frame))).to_parquet(folder / "t.parquet", row_group_size=len(cuts) + 2)
    return folder / "t.parquet"


def parquet_parts(frame: pd.DataFrame, folder: Path, cuts: Sequence[int]) -> Path:
    for number, part in enumerate(cut(frame, cuts)):
        part.to_parquet(folder / f"part.{number}.parquet", row_group_size=2)
    return folder


def json_lines(frame: pd.DataFrame, folder: Path, _cuts: Sequence[int]) -> Path:
    frame.to_json(folder / "t.jsonl", orient="records", lines=True)
    return folder / "t.jsonl"


def data_frame(frame: pd.DataFrame, _folder: Path, _cuts: Sequence[int]) -> pd.DataFrame:
    return frame.set_index(pd.Index(range(len(frame), 0, -1)))


def dask_frame(frame: pd.DataFrame, _folder: Path, cuts: Sequence[int]) -> Any:
    return dd.from_pandas(frame, npartitions=len(cuts) + 1, sort=False)


SOURCES: dict[str, Source] = {
    made.__name__: made
    for made in (csv_file, csv_parts, parquet_file, parquet_parts, json_lines, data_frame, dask_frame)
}


def frame_of(rows: int) -> pd.DataFrame:
    """Rows whose texts have what divides lines and cells, and integers with a gap."""
    texts = random.Random(rows).choices(["", "a", "ü", '"', "x\ny", "\n\n", ",", "\r\n", "p;q"], k=rows)  # noqa: S311 - the same texts each time
    return pd.DataFrame(
        {
            "id": [f"{row:04}" for row in range(rows)],
            "text": texts,
            "n": [None if row == 3 else float(row) for row in range(rows)],
        }
    )


def told(table: Table, size: int = 5000) -> list[tuple[Any, ...]]:
    """All that a table says of its rows: numbers, cells, places, index and types."""
    return [
        (chunk.start + index, row, table.where(chunk.start + index, chunk.line(index)), label, dtypes)
        for chunk in table.chunks(size)
        for dtypes in [tuple(map(str, chunk.frame().dtypes))]
        for index, (row, label) in enumerate(zip(chunk.rows(), chunk.frame().index, strict=True))
    ]


def opened(divided: Sequence[Portion]) -> list[Table]:
    """The portions' tables, each told how many rows come before."""
    tables: list[Table] = []
    first = 0
    for portion in divided:
        tables.append(portion.open(first))
        rows = sum(map(len, tables[-1].chunks()))
        assert portion.rows in {None, rows}
        first += rows
    return tables


# What any division keeps


@pytest.mark.parametrize("source", SOURCES)
@settings(max_examples=20)
@given(
    rows=st.integers(1, 40),
    cuts=st.lists(st.integers(0, 40), max_size=4),
    wanted=st.integers(1, 50),
    whole_files=st.booleans(),
    size=st.integers(1, 9),
)
def test_any_portions_are_the_table(
    *, source: str, rows: int, cuts: list[int], wanted: int, whole_files: bool, size: int
) -> None:
    """Rows, numbers, places, index and types, however it is divided and in whatever chunks it is read."""
    with TemporaryDirectory() as folder:
        given_table = SOURCES[source](frame_of(rows), Path(folder), sorted(min(item, rows) for item in cuts))
        table = open_table(given_table)
        divided = portions(table, wanted, whole_files=whole_files)
        assert [row for item in opened(divided) for row in told(item, size)] == told(table)
        assert {item.columns for item in opened(divided)} == {table.columns}


@pytest.mark.parametrize("source", [name for name in SOURCES if name != "dask_frame"])
def test_there_are_about_as_many_as_were_asked_for(source: str, tmp_path: Path) -> None:
    """Neither fewer, as long as there are rows, nor many times as many."""
    table = open_table(SOURCES[source](frame_of(300), tmp_path, [1, 150]))
    for wanted in (1, 2, 7, 64):
        assert wanted <= len(portions(table, wanted, whole_files=False)) <= max(4 * wanted, 3)
    assert len(portions(table, 1000, whole_files=False)) == 300


@pytest.mark.parametrize("wanted", [2, 7, 500])
def test_a_long_text_is_divided_in_one_reading(wanted: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into pieces of nearly the same size."""
    table = open_table(csv_file(frame_of(20_000), tmp_path, []))
    readings = []
    read_through = TextTable.spans

    def spans(table: TextTable, size: int) -> list[Span]:
        readings.append(size)
        return read_through(table, size)

    monkeypatch.setattr(TextTable, "spans", spans)
    divided = portions(table, wanted, whole_files=False)
    rows = [portion.rows or 0 for portion in divided]
    assert (len(readings), len(rows), sum(rows)) == (1, wanted, 20_000)
    assert min(rows) > 0.7 * max(rows)
    assert [row for item in opened(divided) for row in told(item)] == told(table)


def test_a_text_with_fewer_rows_than_it_seems_is_divided_too(tmp_path: Path) -> None:
    """Its first rows are short ones: there are enough portions all the same, of nearly the same size."""
    path = tmp_path / "t.csv"
    path.write_text("id,text\n" + "1,a\n" * 20_000 + f"1,{'a' * 996}\n" * 10_000, encoding="utf-8")
    table = open_table(path)
    assert table.about is not None
    assert table.about > 1_000_000
    rows = [portion.rows or 0 for portion in portions(table, 100, whole_files=False)]
    assert rows == [300] * 100


@pytest.mark.parametrize("source", SOURCES)
def test_files_and_partitions_stay_whole_where_they_have_to(source: str, tmp_path: Path) -> None:
    """Groups that end with their file aren't torn apart."""
    table = open_table(SOURCES[source](frame_of(30), tmp_path, [5, 9]))
    expected = {"csv_parts": 3, "parquet_parts": 3, "dask_frame": 3}.get(source, 1)
    assert len(portions(table, 50, whole_files=True)) == expected


def test_a_table_without_rows_is_one_portion_without_rows(tmp_path: Path) -> None:
    """So that its columns are known."""
    for name, source in SOURCES.items():
        if name == "json_lines":
            continue  # there is no such file
        (tmp_path / name).mkdir()
        table = open_table(source(frame_of(1).iloc[:0], tmp_path / name, []))
        (portion,) = portions(table, 8, whole_files=False)
        assert portion.open().columns == ("id", "text", "n")
        assert told(portion.open()) == []


def test_a_portion_can_be_divided_again(tmp_path: Path) -> None:
    """A worker may have threads of its own."""
    for source in ("csv_file", "parquet_file", "data_frame"):
        table = open_table(SOURCES[source](frame_of(40), tmp_path, []))
        divided = portions(table, 2, whole_files=False)
        again = [item for part in divided for item in portions(part.open(), 3, whole_files=False)]
        assert len(again) >= 6
        assert [row for item in opened(again) for row in told(item)] == told(table)


# Text, from an offset on

SEEKABLE = (
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "cp1252", "cp037", "iso8859-15",
    "koi8-r", "mac-arabic",
)  # fmt: skip
OTHERS = ("gb18030", "shift_jis", "big5hkscs", "utf-7", "iso2022_jp", "iso2022_kr", "hz")
LETTERS = 'a1+-~{}",;\t \n\r\x0b\x1c\x85\u2028\ufeff§éßя€ア中한\U0001f600'


def can_write(encoding: str, text: str) -> bool:
    """Whether the encoding has these characters, also where each is a text of its own."""
    try:
        return text.encode(encoding).decode(encoding) == text
    except UnicodeError:
        return False


@st.composite
def texts(draw: st.DrawFn, encoding: str, delimiter: str) -> str:
    """A table of two columns with all that may lie between its records, some of it where a reader's buffer ends."""
    cell = st.text([letter for letter in LETTERS if can_write(encoding, letter)], max_size=4)
    end = st.sampled_from(["\n", "\r\n", "\r"])
    octets = len("aa".encode(encoding)) - len("a".encode(encoding))
    first = draw(st.just(0) | st.integers(8192 // octets - 40, 8192 // octets))
    lines = [f"sep={delimiter}{draw(end)}"] if draw(st.booleans()) else []
    lines.append(f"id{delimiter}text{draw(end)}")
    lines += [f"{'a' * first}{delimiter}{draw(end)}"] if first else []
    for _ in range(draw(st.integers(0, 9))):
        kind = draw(st.sampled_from(["quoted", "quoted", "plain", "blank", "delimiters"]))
        quoted = [f'"{draw(cell).replace(chr(34), chr(34) * 2)}"' for _ in range(2)]
        plain = {"quoted": delimiter.join(quoted), "plain": f"x{delimiter}y", "blank": "", "delimiters": delimiter}
        lines.append(plain[kind] + draw(end))
    return "".join(lines).rstrip("\r\n") if draw(st.booleans()) else "".join(lines)


def read(table: Table, first: int = 0) -> list[tuple[Any, ...]]:
    """Numbers, lines and cells, in small chunks."""
    return [
        (first + chunk.start + index, chunk.line(index), row)
        for chunk in table.chunks(2)
        for index, row in enumerate(chunk.rows())
    ]


def of_span(table: TextTable, span: Span) -> TextTable:
    """A span as another process has it."""
    return replace(table, span=pickle.loads(pickle.dumps(span)))  # noqa: S301 - our own


@pytest.mark.parametrize("encoding", [*SEEKABLE, *OTHERS])
@settings(max_examples=40, deadline=None)
@given(data=st.data(), delimiter=st.sampled_from(",;\t"), size=st.integers(1, 5))
def test_any_spans_of_a_text_are_the_table(*, encoding: str, data: st.DataObject, delimiter: str, size: int) -> None:
    """Cells, lines and numbers, whatever the encoding and the line ends, also of a span that is divided again."""
    text = data.draw(texts(encoding, delimiter))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(text.encode(encoding))
        table = open_table(path, encoding=encoding, delimiter=delimiter)
        assert isinstance(table, TextTable)
        expected = read(table)
        for again in (size, 1):
            found: list[tuple[Any, ...]] = []
            spans = table.spans(size)
            for part in [of_span(table, span) for span in spans]:
                for one in part.spans(again):
                    found += read(of_span(table, one), len(found))
            assert found == expected
        if expected:
            assert {span.place.offset is not None for span in spans} == {encoding in SEEKABLE}


@pytest.mark.parametrize("encoding", sorted(set(aliases.values()) - {"mbcs", "oem"}))
def test_offsets_count_what_can_be_read_from_any_character_on(encoding: str) -> None:
    """Of all encodings that Python has: a few letters, cut anywhere."""
    if not codecs.lookup(encoding)._is_text_encoding or (octets := octets_in(encoding)) is None:
        return
    text = "".join(letter for letter in LETTERS if can_write(encoding, letter))
    content = text.encode(encoding)
    assert [content[octets(text[:cut]) :].decode(encoding) for cut in range(len(text))] == [
        text[cut:] for cut in range(len(text))
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_what_comes_before_a_portion_of_text_is_not_read(encoding: str, tmp_path: Path) -> None:
    """It could be anything: the cells and their lines are found all the same."""
    path = tmp_path / "t.csv"
    path.write_bytes("".join(["id,text\n", *(f'{row},"é\né"\n' for row in range(100))]).encode(encoding))
    table = open_table(path, encoding=encoding)
    divided = portions(table, 4, whole_files=False)
    expected = told(table)
    first = sum(portion.rows or 0 for portion in divided[:-1])
    info = path.stat()
    content = path.read_bytes()
    portion = divided[-1]
    assert isinstance(portion, FilePortion)
    assert isinstance(portion.table, TextTable)
    assert portion.table.span is not None
    offset = portion.table.span.place.offset
    assert offset is not None
    path.write_bytes(b"\n" * offset + content[offset:])
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert told(portion.open(first)) == expected[first:]


@pytest.mark.parametrize(
    ("encoding", "content", "offset"),
    [
        ("utf-8-sig", codecs.BOM_UTF8 + "id,n\na,é\n".encode(), 8),
        ("utf-8-sig", "id,n\na,é\n".encode(), 5),
        ("utf-8-sig", codecs.BOM_UTF8 * 2 + "id,n\na,é\n".encode(), None),
        ("utf-16", codecs.BOM_UTF16_BE + "id,n\na,é\n".encode("utf-16-be"), 12),
        ("utf-16", codecs.BOM_UTF16_BE * 2 + "id,n\na,é\n".encode("utf-16-be"), None),
        ("utf-16", "id,n\na,é\n".encode("utf-16"), 12),
        (None, codecs.BOM_UTF32_LE + "id,n\na,é\n".encode("utf-32-le"), 24),
    ],
)
def test_marks_are_passed_over(encoding: str | None, content: bytes, offset: int | None, tmp_path: Path) -> None:
    """Also none where one may be, and two, which costs the offset."""
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    table = open_table(path, encoding=encoding)
    assert isinstance(table, TextTable)
    assert (table.columns, read(table)) == (("id", "n"), [(0, 2, ("a", "é"))])
    assert table.spans(5) == [Span(Place(2, offset), 1)]


# In other processes

READER = """
import pickle, sys
told = []
for portion in pickle.load(sys.stdin.buffer):
    table = portion.open(len(told))
    for chunk in table.chunks(3):
        for number, row in enumerate(chunk.rows(), chunk.start):
            told.append((number, row, table.where(number, chunk.line(number - chunk.start))))
pickle.dump(told, sys.stdout.buffer)
"""


@pytest.mark.parametrize("source", SOURCES)
def test_portions_are_opened_in_another_process(source: str, tmp_path: Path) -> None:
    """They travel as pickles."""
    table = open_table(SOURCES[source](frame_of(12), tmp_path, [4]))
    divided = pickle.dumps(portions(table, 2, whole_files=False))
    done = subprocess.run([sys.executable, "-c", READER], input=divided, capture_output=True, check=True)
    assert pickle.loads(done.stdout) == [row[:3] for row in told(table)]  # noqa: S301 - our own


@pytest.mark.parametrize("source", SOURCES)
def test_portions_are_small(source: str, tmp_path: Path) -> None:
    """Of a file they hold no rows, of a DataFrame no more than their own."""
    table = open_table(SOURCES[source](frame_of(20_000), tmp_path, [5_000, 10_000, 15_000]))
    sizes = [len(pickle.dumps(portion)) for portion in portions(table, 4, whole_files=False)]
    whole = len(pickle.dumps(frame_of(20_000)))
    assert max(sizes) < (0.5 * whole if source in {"json_lines", "data_frame", "dask_frame"} else 4000)


@pytest.mark.parametrize("source", ["csv_file", "csv_parts", "parquet_file", "parquet_parts"])
def test_another_version_of_the_file_is_refused(source: str, tmp_path: Path) -> None:
    """By size and time, which are the same on every machine; a file that is gone is told too."""
    table = open_table(SOURCES[source](frame_of(12), tmp_path, [4]))
    portion = portions(table, 2, whole_files=False)[-1]
    assert told(portion.open())
    files = sorted(path for path in tmp_path.iterdir() if path.is_file())
    copy = files[-1].read_bytes()
    files[-1].write_bytes(copy + b" ")
    with pytest.raises(CampaignError, match=r"was changed while it was in use"):
        portion.open()
    files[-1].unlink()
    with pytest.raises(CampaignError, match=r"can't be read: No such file or directory"):
        portion.open()


def test_a_file_with_another_inode_is_the_same_one(tmp_path: Path) -> None:
    """As it is on another machine."""
    path = csv_file(frame_of(12), tmp_path, [])
    portion = portions(open_table(path), 2, whole_files=False)[1]
    before = told(portion.open(6))
    info = path.stat()
    content = path.read_bytes()
    path.rename(tmp_path / "other.csv")
    path.write_bytes(content)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    assert path.stat().st_ino != info.st_ino
    assert told(portion.open(6)) == before


def test_what_comes_before_a_portion_of_parquet_is_not_read(tmp_path: Path) -> None:
    """Whole row groups are passed over: this one couldn't be read."""
    path = parquet_file(frame_of(40), tmp_path, [0] * 18)  # groups of 20 rows
    content = bytearray(path.read_bytes())
    content[4:100] = bytes(96)
    path.write_bytes(content)
    table = open_table(path)
    with pytest.raises(CampaignError):
        told(table)
    _, second = portions(table, 2, whole_files=False)
    assert [row[1][0] for row in told(second.open(20))] == [f"{row:04}" for row in range(20, 40)]


# Kinds of tables


def test_types_are_those_of_the_whole() -> None:
    """Portions that show no value of a column write it as the others do."""
    frame = pd.DataFrame({"day": [None] * 5 + [pd.Timestamp("2026-11-23").date()] * 5}, dtype=object)
    table = open_table(frame)
    divided = portions(table, 5, whole_files=False)
    assert {str(table_types(item)) for item in opened(divided)} == {str(table_types(table))}
    assert {str(table_types(portions(item, 2, whole_files=False)[0].open())) for item in opened(divided)} == {
        str(table_types(table))
    }


def test_an_excel_sheet_is_divided_with_its_rows_numbers(tmp_path: Path) -> None:
    """No worker needs the workbook."""
    book = openpyxl.Workbook()
    for row in (["id", "n"], ["a", 1], [], ["b", None], ["c", 3]):
        book.worksheets[0].append(row)
    book.save(tmp_path / "t.xlsx")
    table = open_table(tmp_path / "t.xlsx")
    expected = told(table)
    divided = portions(table, 3, whole_files=False)
    (tmp_path / "t.xlsx").unlink()
    assert [row for item in opened(divided) for row in told(item)] == expected
    assert expected[1][2] == "row 1 (row 4 of the sheet)"
    assert {item.version for item in opened(divided)} == {None}


def test_a_partition_may_be_computed_elsewhere(tmp_path: Path) -> None:
    """A caller that has its own way to compute it needs no more than the portion's form."""
    frame = frame_of(10)
    table = open_table(dask_frame(frame, tmp_path, [0]))
    divided = portions(table, 1, whole_files=False)
    found: list[Any] = []
    for portion in divided:
        assert isinstance(portion, DaskPortion)
        light = portion.emptied()
        assert light.delayed is None
        held = light.computed(portion.delayed.compute())
        found += told(pickle.loads(pickle.dumps(held)).open(len(found)))  # noqa: S301 - our own
    assert found == told(table)


def test_an_audit_is_not_divided() -> None:
    """Rows of it are judged together."""
    row = dict.fromkeys(AUDIT_COLUMNS, "x") | {"row": 0, "email": "a@example.org"}
    audit = read_audit(open_table(pd.DataFrame([row])))
    with pytest.raises(CampaignError, match=r"an audit that is given back is sent by one process: leave --on \(on=\)"):
        portions(audit, 2, whole_files=False)
