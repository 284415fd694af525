"""Tables of recipients: every format gives the same rows, or one line that says what is wrong where."""

from __future__ import annotations

import codecs
import csv
import datetime as dt
import functools
import io
import os
import re
import subprocess
import sys
import tracemalloc
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openpyxl.chart import BarChart
from pandas.testing import assert_frame_equal

from turbobatch.errors import CampaignError
from turbobatch.recipients import Chunk, Table, open_table

if TYPE_CHECKING:
    from collections.abc import Callable

    Save = Callable[[str, str | bytes], Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Write a file and return its path."""

    def write(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


@pytest.fixture
def workbook(tmp_path: Path) -> Callable[..., Path]:
    """Write a workbook of one or more sheets and return its path."""

    def write(name: str = "receipts.xlsx", **sheets: list[list[Any]]) -> Path:
        book = openpyxl.Workbook()
        book.remove(book.worksheets[0])
        for title, rows in sheets.items():
            sheet = book.create_sheet(title)
            for number, row in enumerate(rows, 1):
                for column, cell in enumerate(row, 1):
                    sheet.cell(number, column, cell)
        book.save(tmp_path / name)
        return tmp_path / name

    return write


def all_rows(table: Table, size: int = 5000) -> list[tuple[Any, ...]]:
    return [row for chunk in table.chunks(size) for row in chunk.rows()]


def all_lines(table: Table, size: int = 5000) -> list[int | None]:
    return [chunk.line(index) for chunk in table.chunks(size) for index in range(len(chunk))]


def whole_frame(table: Table, size: int = 5000) -> pd.DataFrame:
    return pd.concat([chunk.frame() for chunk in table.chunks(size)])


def types(row: tuple[Any, ...]) -> list[type]:
    return [type(cell) for cell in row]


def fault(recipients: Any, **options: Any) -> str:
    """Return the one line that reading a table to its end raises."""
    with pytest.raises(CampaignError) as caught:
        all_rows(open_table(recipients, **options))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_every_format_is_a_table_of_chunks(save: Save, workbook: Callable[..., Path], tmp_path: Path) -> None:
    """Whatever the format, the same rows come out, again and again, in chunks that know where they start."""
    frame = pd.DataFrame({"email": [f"u{i}@example.org" for i in range(7)], "n": [f"{i:03}" for i in range(7)]})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_parquet(tmp_path / "t.pq", row_group_size=2)
    lines = frame.to_json(orient="records", lines=True)
    assert lines is not None
    files: list[Any] = [
        save("t.csv", frame.to_csv(index=False)),
        save("t.CSV", frame.to_csv(index=False)),
        save("t.txt", frame.to_csv(index=False, sep=";")),
        save("t.tsv", frame.to_csv(index=False, sep="\t")),
        save("t.jsonl", lines),
        save("t.ndjson", lines),
        workbook("t.xlsx", Sheet=[list(frame.columns), *frame.to_numpy().tolist()]),
        workbook("t.xlsm", Sheet=[list(frame.columns), *frame.to_numpy().tolist()]),
        tmp_path / "t.parquet",
        tmp_path / "t.pq",
    ]
    expected = list(frame.itertuples(index=False, name=None))
    for source in [frame, str(files[0]), *files]:
        table = open_table(source)
        assert isinstance(table, Table)
        assert table.columns == ("email", "n")
        assert table.warnings == ()
        assert table.name == ("the DataFrame" if source is frame else Path(str(source)).name)
        assert all_rows(table) == all_rows(table, 3) == all_rows(table, 1) == expected
        assert table.where(3) == "row 3"
        assert table.about == len(expected)
        start = 0
        for chunk in table.chunks(3):
            assert isinstance(chunk, Chunk)
            assert chunk.start == start
            assert 0 < len(chunk) <= 3
            assert chunk.column("n") == [row[1] for row in chunk.rows()]
            assert list(chunk.frame().index) == list(range(start, start + len(chunk)))
            with pytest.raises(KeyError, match="nothing"):
                chunk.column("nothing")
            start += len(chunk)
        assert_frame_equal(whole_frame(table, 3), frame, check_index_type=False)


def test_how_many_rows_a_long_text_has_is_estimated_by_its_first(save: Save) -> None:
    """Without reading it whole; a file of like rows comes out right to a few in a hundred."""
    table = open_table(
        save("t.csv", "n,email\n" + "".join(f"{row:07},u{row:07}@example.org\n" for row in range(50_000)))
    )
    assert table.about == pytest.approx(50_000, rel=0.02)
    assert open_table(save("none.csv", "n,email\n")).about == 0


def test_a_table_is_returned_as_it_is(save: Save) -> None:
    """What is open already stays as it is."""
    table = open_table(save("t.csv", "a\n1\n"))
    assert open_table(table) is table


def test_rows_of_text_need_no_heavy_imports(save: Save) -> None:
    """A CSV is read without the second that pandas takes to import."""
    script = (
        "import sys; from turbobatch.recipients import open_table\n"
        "table = open_table(open_table(sys.argv[1]))\n"
        "assert [chunk.rows() for chunk in table.chunks()] == [[('1',)]]\n"
        "assert not {'pandas', 'numpy', 'pyarrow', 'openpyxl'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script, str(save("t.csv", "a\n1\n"))], check=True)


class TestFiles:
    def test_an_unknown_ending_names_the_known_ones(self, save: Save) -> None:
        """Nothing is guessed from the content."""
        message = fault(save("receipts.xls", b"\xd0\xcf"))
        assert message.startswith("receipts.xls is no table that can be read")
        for ending in (".csv", ".tsv", ".txt", ".parquet", ".pq", ".xlsx", ".xlsm", ".jsonl", ".ndjson"):
            assert ending in message

    def test_what_is_no_file_is_told(self, tmp_path: Path) -> None:
        """A missing file, a folder and a device each have their line."""
        (tmp_path / "folder.csv").mkdir()
        (tmp_path / "device.csv").symlink_to("/dev/null")
        assert "missing.csv doesn't exist" in fault(tmp_path / "missing.csv")
        assert "folder.csv is a folder" in fault(tmp_path / "folder.csv")
        assert "no regular file" in fault(tmp_path / "device.csv")
        assert "can't be read: File name too long" in fault(tmp_path / ("x" * 300 + ".csv"))

    @pytest.mark.skipif(sys.platform != "linux", reason="needs a file that fails on reading")
    @pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx", ".jsonl"])
    def test_a_file_that_fails_on_reading_is_told(self, tmp_path: Path, ending: str) -> None:
        """The system's reason comes in the message."""
        (tmp_path / f"bad{ending}").symlink_to("/proc/self/mem")
        assert f"bad{ending} can't be read" in fault(tmp_path / f"bad{ending}")

    def test_a_file_name_with_a_line_break_stays_one_line(self, save: Save) -> None:
        """Messages are one line whatever the file is called."""
        assert "a b.csv is empty" in fault(save("a\nb.csv", ""))

    def test_other_objects_are_refused(self) -> None:
        """Only DataFrames, paths and tables are recipients."""
        assert fault([{"email": "a@b.example"}]) == "recipients must be a DataFrame or the path of a file, not a list"


class TestText:
    def test_text_stays_verbatim_and_empty_is_missing(self, save: Save) -> None:
        """No cell is read as a number or as missing, but the empty one."""
        table = open_table(save("t.csv", ' a ,b,c,"d"\n007,12.50,NA,\n true,nan,None,null\n'))
        assert table.columns == ("a", "b", "c", "d")
        assert all_rows(table) == [("007", "12.50", "NA", None), (" true", "nan", "None", "null")]
        assert next(table.chunks()).column("d") == [None, "null"]
        frame = whole_frame(table)
        assert frame["d"].tolist() == ["", "null"]
        assert {str(dtype) for dtype in frame.dtypes} <= {"str", "object"}

    def test_lines_are_those_on_which_rows_begin(self, save: Save) -> None:
        """Quoted line breaks and empty lines count, as in an editor."""
        table = open_table(save("receipts.csv", '\na,b\n1,"x\ny\r\nz"\n\n\r\n2,"\n"\n3,c'))
        assert all_rows(table) == [("1", "x\ny\r\nz"), ("2", "\n"), ("3", "c")]
        assert all_lines(table, 2) == [3, 8, 10]
        assert table.where(3, 5) == "row 3 (line 5 of receipts.csv)"

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_every_line_end_is_known(self, save: Save, end: str) -> None:
        """Also that of old Macs."""
        table = open_table(save("t.csv", end.join(["a,b", "1,2", "", '3,"4"', ""])))
        assert all_rows(table) == [("1", "2"), ("3", "4")]
        assert all_lines(table) == [2, 4]

    @pytest.mark.parametrize(
        ("text", "columns"),
        [
            ("email\na@b.example\n", ("email",)),
            ("email;name, given\na@b.example;Ana\n", ("email", "name, given")),
            ('"a, b, c";d\n1;2\n', ("a, b, c", "d")),
            ("a\tb,c\td\n1\t2\t3\n", ("a", "b,c", "d")),
            ("a|b|c\n1|2|3\n", ("a", "b", "c")),
            ('6" pipe;size, mm;x\n1;2;3\n', ('6" pipe', "size, mm", "x")),
            ("a,b;c\n", ("a", "b;c")),
            ('"a\n,,,";b\n1;2\n', ("a\n,,,".strip(), "b")),
        ],
    )
    def test_the_delimiter_is_found_in_the_header(self, save: Save, text: str, columns: tuple[str, ...]) -> None:
        """What parts the header into most cells, outside quotes, is the delimiter."""
        assert open_table(save("t.csv", text)).columns == columns

    def test_one_column_is_told_of_commas_in_its_text(self, save: Save) -> None:
        """Without a delimiter in the header it is the comma, so that no row is read another way than the next."""
        assert "row 0 (line 2 of t.csv) has 2 cells, but" in fault(save("t.csv", "note\nHello, you\nBye; now\n"))

    def test_a_named_delimiter_wins(self, save: Save) -> None:
        """Also one that would never be guessed, and in a .tsv."""
        assert open_table(save("t.csv", "a:b,c\n"), delimiter=":").columns == ("a", "b,c")
        assert open_table(save("t.tsv", "a,b\tc\n")).columns == ("a,b", "c")
        assert open_table(save("t.tsv", "a,b\tc\n"), delimiter=",").columns == ("a", "b\tc")

    @pytest.mark.parametrize("delimiter", ["", "::", '"', "\n", "\r", "\0"])
    def test_an_impossible_delimiter_is_refused(self, save: Save, delimiter: str) -> None:
        """It must be one character that can part cells."""
        assert "the delimiter must be one character" in fault(save("t.csv", "a\n"), delimiter=delimiter)

    def test_a_lost_or_extra_cell_is_an_error(self, save: Save) -> None:
        """A shifted row would mail the wrong things, so it stops the campaign, wherever it stands."""
        rows = "a,b,c\n" + "1,2,3\n" * 7
        table = open_table(save("t.csv", rows + "1,2\n"))
        chunks = table.chunks(2)
        assert [len(next(chunks)) for _ in range(3)] == [2, 2, 2]
        with pytest.raises(CampaignError, match=r"row 7 \(line 9 of t.csv\) has 2 cells, but the header has 3: a cell"):
            next(chunks)
        assert "row 0 (line 2 of t.csv) has 1 cell, but" in fault(save("t.csv", "a,b\n1\n"))
        message = fault(save("t.csv", "a,b\n1,2\n\n1,2,3\n"))
        assert message == (
            "row 1 (line 4 of t.csv) has 3 cells, but the header has 2: "
            "put a cell that holds ',' in quotes, or name the right delimiter"
        )

    @pytest.mark.parametrize(
        ("text", "lines"),
        [
            ('a,b\n1,"2\n3,4\n5,6\n', "lines 2 to 4"),
            ('a,b\n1,2\n1,"x" y\n', "line 3"),
            ('a,b\n1,"2\n3,"4"\n', "lines 2 to 3"),
            ('"a,b\n1,2\n', "lines 1 to 2"),
        ],
    )
    def test_a_quote_left_open_names_its_record(self, save: Save, text: str, lines: str) -> None:
        """It never swallows the rows that follow."""
        assert fault(save("t.csv", text)).startswith(f"t.csv, {lines}: a quoted cell isn't closed properly (")

    def test_a_long_cell_is_read(self, save: Save) -> None:
        """The csv module's own limit is less than a long letter."""
        assert all_rows(open_table(save("t.csv", f"a,b\n1,{'x' * 500_000}\n")))[0][1] == "x" * 500_000

    def test_a_quote_open_for_ever_ends_somewhere(self, save: Save, monkeypatch: pytest.MonkeyPatch) -> None:
        """A cell has a limit, so that one quote doesn't load the whole file."""
        monkeypatch.setattr("turbobatch.recipients.text._CELL_LIMIT", 1000)
        before = csv.field_size_limit(1000)
        try:
            assert "field larger than field limit" in fault(save("t.csv", 'a\n"' + "x\n" * 2000))
        finally:
            csv.field_size_limit(before)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "t.csv is empty"),
            ("\n\r\n", "t.csv is empty"),
            ("a,,b\n", "line 1 of t.csv: column 2 has no name"),
            ("\na, \t,b\n", "line 2 of t.csv: column 2 has no name"),
            ('""\n', "line 1 of t.csv: column 1 has no name"),
            ("a,b, a,b,c\n", "line 1 of t.csv has more than one column named 'a' and 'b'"),
            ("a,b\n1,\0\n", "t.csv, line 2 holds a NUL character"),
            ("a,\0b\n", "t.csv, line 1 holds a NUL character"),
        ],
    )
    def test_a_bad_header_or_text_is_told(self, save: Save, text: str, message: str) -> None:
        """Each fault has its line."""
        assert fault(save("t.csv", text)).startswith(message)

    def test_a_table_without_rows_is_fine(self, save: Save) -> None:
        """There is just nothing to send."""
        table = open_table(save("t.csv", "a,b"))
        assert table.columns == ("a", "b")
        assert list(table.chunks()) == []

    def test_a_delimiter_at_every_lines_end_is_no_column(self, save: Save) -> None:
        """Many exports write one; a value in there is an error, since it has no name."""
        table = open_table(save("t.csv", "a;b; \n1;2;\n3;;\n"))
        assert table.columns == ("a", "b")
        assert all_rows(table) == [("1", "2"), ("3", None)]
        assert whole_frame(table).shape == (2, 2)
        assert "row 1 (line 3 of t.csv) has a value in a last column without a name" in fault(
            save("t.csv", "a;b;\n1;2;\n3;4;5\n")
        )
        assert "has 2 cells, but the header has 3" in fault(save("t.csv", "a;b;\n1;2\n"))

    def test_a_file_changed_meanwhile_is_told(self, save: Save) -> None:
        """Rows of another table must not be mailed under the old names."""
        table = open_table(save("t.csv", "a,b\n1,2\n"))
        save("t.csv", "b,a\n1,2\n")
        with pytest.raises(CampaignError, match=r"t.csv was changed while it was in use"):
            all_rows(table)
        save("t.csv", b"a,b\n1,\xff\n")  # what can't be read is a fault of the other file
        with pytest.raises(CampaignError, match=r"t.csv was changed while it was in use"):
            all_rows(table)

    @pytest.mark.unmeasured
    def test_memory_does_not_grow_with_the_table(self, save: Save) -> None:
        """A chunk is all that is held."""

        def peak(rows: int) -> int:
            path = save("t.csv", "a,b\n" + "some text,more text\n" * rows)
            tracemalloc.start()
            assert sum(len(chunk.rows()) for chunk in open_table(path).chunks(500)) == rows
            found = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return found

        peak(10)
        assert peak(160_000) < peak(80_000) + 100_000


class TestEncodings:
    @pytest.mark.parametrize(
        ("encoding", "mark"),
        [
            ("utf-8", b""),
            ("utf-8", codecs.BOM_UTF8),
            ("utf-16-le", codecs.BOM_UTF16_LE),
            ("utf-16-be", codecs.BOM_UTF16_BE),
            ("utf-32-le", codecs.BOM_UTF32_LE),
            ("utf-32-be", codecs.BOM_UTF32_BE),
            ("utf-16-le", b""),
            ("utf-16-be", b""),
        ],
    )
    def test_unicode_is_found_out(self, save: Save, encoding: str, mark: bytes) -> None:
        """By its mark, or by the text itself; the mark is no part of the header."""
        table = open_table(save("t.csv", mark + '"näme",email\nŁódź,a@b.example\n'.encode(encoding)))
        assert table.columns == ("näme", "email")
        assert all_rows(table) == [("Łódź", "a@b.example")]
        assert table.warnings == ()

    def test_what_is_not_utf8_is_read_as_cp1252_with_a_warning(self, save: Save) -> None:
        """One byte at the very end of a long file is enough to know."""
        path = save("receipts.csv", b"name\n" + "Zoë\n".encode() * 300_000 + b"Ren\xe9\n")
        table = open_table(path)
        assert table.warnings == (
            "receipts.csv is not UTF-8: read as cp1252; name the right encoding with encoding = …",
        )
        table = open_table(save("receipts.csv", "name,price\nRené,5 €\n".encode("cp1252")))
        assert all_rows(table) == [("René", "5 €")]

    def test_neither_utf8_nor_cp1252_names_the_line(self, save: Save) -> None:
        """Some bytes mean nothing in cp1252."""
        message = fault(save("t.csv", b"a\r\n1\r\xe9\n\x81\n"))
        assert message == "t.csv, line 4 is neither UTF-8 nor cp1252: name the encoding with encoding = …"

    def test_a_named_encoding_wins_and_must_fit(self, save: Save) -> None:
        """The whole file is checked before anything is read."""
        path = save("t.csv", "name\nÅsa\n".encode("mac-roman"))
        table = open_table(path, encoding="mac-roman")
        assert all_rows(table) == [("Åsa",)]
        assert table.warnings == ()
        assert fault(path, encoding="utf-8") == "t.csv, line 2 is not valid utf-8: name the right encoding"
        assert all_rows(open_table(save("t.csv", "a\né\n".encode("utf-16")), encoding="utf-16")) == [("é",)]
        assert open_table(save("t.csv", "a\né\n".encode("utf-8-sig")), encoding="utf-8").columns == ("a",)
        assert "line 2 is not valid utf-16-le" in fault(
            save("t.csv", codecs.BOM_UTF16_LE + "a\n".encode("utf-16-le") + b"\0\xd8x\0")
        )
        assert "line 1 is not valid idna" in fault(save("t.csv", b"xn--\xff\n"), encoding="idna")

    @pytest.mark.parametrize("encoding", ["utf-9", "hex", "", "a\0b"])
    def test_an_unknown_encoding_is_told(self, save: Save, encoding: str) -> None:
        """Codecs that make no text don't count."""
        assert fault(save("t.csv", "a\n"), encoding=encoding).startswith("there is no text encoding named")


WRITINGS = st.tuples(
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252", "iso8859-15", "gb18030"]),
    st.sampled_from([",", ";", "\t", "|", ":"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
)


def cells_of(encoding: str) -> st.SearchStrategy[str]:
    codec = "utf-8" if encoding.startswith("utf") else encoding
    letters = st.characters(codec=codec, exclude_characters="\0")
    return st.text(st.one_of(letters, st.sampled_from("\r\n\"',;\t| ")), max_size=8)


@pytest.mark.unmeasured
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), writing=WRITINGS, width=st.integers(1, 4))
def test_csv_round_trip(tmp_path: Path, data: st.DataObject, writing: tuple[str, str, str, Any], width: int) -> None:
    """What csv.writer wrote comes back verbatim, each row with the line on which it begins."""
    encoding, delimiter, end, quoting = writing
    if quoting == csv.QUOTE_MINIMAL:
        end = "\r\n"  # csv.writer leaves a bare CR unquoted where it isn't part of the line end
    row_of_cells = st.lists(cells_of(encoding), min_size=width, max_size=width)
    rows = data.draw(st.lists(row_of_cells.filter(lambda row: width == 1 or any(row)), max_size=6))
    header = [f"c{index}" for index in range(width)]
    text, lines = io.StringIO(newline=""), []
    writer = csv.writer(text, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(header)
    for row in rows:
        lines.append(1 + len(re.findall(r"\r\n|\r|\n", text.getvalue())))
        writer.writerow(row)
    path = tmp_path / "t.csv"
    path.write_bytes(text.getvalue().encode(encoding))

    table = open_table(path, encoding=encoding, delimiter=delimiter)

    assert table.columns == tuple(header)
    for size in (1, 2, 5000):
        assert all_rows(table, size) == [tuple(cell or None for cell in row) for row in rows]
        assert all_lines(table, size) == lines
    if rows:
        assert whole_frame(table, 2).to_numpy().tolist() == rows
    if encoding in {"utf-8", "utf-8-sig", "utf-16"} and delimiter != ":" and width > 1:
        found = open_table(path)
        assert found.columns == table.columns
        assert all_rows(found) == all_rows(table)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(
    content=st.one_of(
        st.binary(max_size=200),
        st.lists(st.sampled_from([b"a", b"b", b",", b";", b'"', b"\n", b"\r", b"\xe9", b"\0", b"\xff\xfe"])).map(
            b"".join
        ),
    ),
    ending=st.sampled_from([".csv", ".tsv", ".txt", ".jsonl", ".parquet", ".xlsx"]),
)
def test_random_bytes_end_in_rows_or_one_line(tmp_path: Path, content: bytes, ending: str) -> None:
    """No file, however broken, ends in a traceback."""
    path = tmp_path / f"t{ending}"
    path.write_bytes(content)
    try:
        table = open_table(path)
        for chunk in table.chunks(3):
            assert len(chunk.rows()) == len(chunk.frame()) == len(chunk)
            assert all(len(row) == len(table.columns) for row in chunk.rows())
    except CampaignError as error:
        assert len(str(error).splitlines()) == 1  # noqa: PT017 - either outcome is right, but not two lines


class TestFrame:
    def test_cells_are_plain_python(self) -> None:
        """Whatever dtype holds them, and None wherever one is missing."""
        frame = pd.DataFrame(
            {
                "int": np.array([1, 2], dtype="int32"),
                "bool": [True, False],
                "float": [1.0, 2.0],
                "inf": [np.inf, np.nan],
                "text": ["x", ""],
                "string": pd.array(["x", pd.NA], dtype="string"),
                "Int": pd.array([1, pd.NA], dtype="Int64"),
                "boolean": pd.array([True, pd.NA], dtype="boolean"),
                "Float": pd.array([1.0, pd.NA], dtype="Float64"),
                "time": pd.to_datetime(pd.Series(["2026-11-01", None])),
                "category": pd.Categorical(["u", None]),
                "numbers": pd.Categorical([1, None]),
                "arrow": pd.Series(["x", ""], dtype=pd.ArrowDtype(pa.string())),
                "decimal": [Decimal("1.50"), Decimal("NaN")],
            }
        )
        first, second = all_rows(open_table(frame))
        assert first == (
            1, True, 1.0, float("inf"), "x", "x", 1, True, 1.0, dt.datetime(2026, 11, 1), "u", 1, "x", Decimal("1.50"),  # noqa: DTZ001 - as tables have them
        )  # fmt: skip
        assert second == (2, False, 2.0, *[None] * 11)
        assert types(first)[:9] == [int, bool, float, float, str, str, int, bool, float]
        assert type(first[11]) is int

    def test_objects_lose_numpy(self) -> None:
        """Scalars and arrays that pandas left in an object column become Python's, also nested."""
        values = [
            np.int64(1), np.float64(1.5), np.str_(""), np.bool_(True), np.datetime64("2026-11-01T00:00:00"),
            np.timedelta64(1, "D"), np.array([1, 2]), [np.int64(3)], {"k": np.array(["x"])}, (1,),
            None, pd.NA, pd.NaT, float("nan"), "",
        ]  # fmt: skip
        cells = next(open_table(pd.DataFrame({"a": pd.Series(values, dtype=object)})).chunks()).column("a")
        assert cells == [
            1, 1.5, None, True, dt.datetime(2026, 11, 1), dt.timedelta(days=1), [1, 2], [3],  # noqa: DTZ001 - as tables have them
            {"k": ["x"]}, (1,), *[None] * 5,
        ]  # fmt: skip
        assert [type(cell) for cell in cells[:2]] == [int, float]

    @pytest.mark.parametrize("depth", [49, 130, 900, 3000])
    @pytest.mark.parametrize(
        "wrap", [lambda it: [it], lambda it: (it,), lambda it: {"k": it}, lambda it: np.array([it, None], dtype=object)]
    )
    def test_a_cell_nested_too_deeply_is_told(self, wrap: Callable[[Any], Any], depth: int) -> None:
        """By row and column, whichever rows are read; so is one that holds itself."""
        endless: list[Any] = []
        endless += [endless, endless]
        for cell in (functools.reduce(lambda it, _: wrap(it), range(depth), 1), endless):
            frame = pd.DataFrame({"id": [0, 1, 2, 3], "tree": pd.Series(["x", [1], None, cell], dtype=object)})
            chunks = open_table(frame).chunks(size=2)
            assert next(chunks).column("tree") == ["x", [1]]
            last = next(chunks)
            for read in (last.rows, last.frame, lambda: last.column("tree")):  # noqa: B023 - read at once
                with pytest.raises(CampaignError) as caught:
                    read()
                expected = "row 3, column 'tree' of the DataFrame is nested more than 48 levels deep: flatten it"
                assert str(caught.value) == expected
            assert last.column("id") == [2, 3]

    def test_floats_that_are_integers_with_gaps_print_as_integers(self) -> None:
        """Decided over the whole column, so that every chunk agrees."""
        frame = pd.DataFrame(
            {
                "gaps": [1.0, np.nan, 3.0, -4.0],
                "full": [1.0, 2.0, 3.0, 4.0],
                "half": [1.0, np.nan, 3.0, 4.5],
                "huge": [1e300, np.nan, 1.0, 1.0],
                "inf": [1.0, np.nan, np.inf, 1.0],
                "small": np.array([1, np.nan, 2, 3], dtype="float16"),
                "none": [np.nan] * 4,
            }
        )
        for size in (1, 4):
            rows = all_rows(open_table(frame), size)
            assert [str(cell) for cell in rows[0]] == ["1", "1.0", "1.0", "1e+300", "1.0", "1", "None"]
            assert rows[1] == (None, 2.0, None, None, None, None, None)
            assert [str(cell) for cell in rows[3]] == ["-4", "4.0", "4.5", "1.0", "1.0", "3", "None"]

    def test_frames_are_slices_of_the_original(self) -> None:
        """Types, index and names are the caller's, and a column added later shifts nothing."""
        frame = pd.DataFrame({1: [1.0, None, 2.0], "b": ["x", "y", "z"]}, index=pd.Index(["p", "q", "r"], name="id"))
        table = open_table(frame)
        assert table.columns == ("1", "b")
        assert_frame_equal(whole_frame(table, 2), frame)
        assert next(table.chunks()).column("1") == [1, None, 2]
        frame.insert(0, "new", 0)
        assert all_rows(table)[0] == (1, "x")
        assert all_lines(table) == [None] * 3
        assert table.where(2, 5) == "row 2"

    def test_columns_that_are_no_names_are_refused(self) -> None:
        """Each column needs one name of its own."""
        assert "more than one column named '1'" in fault(pd.DataFrame([[1, 2]], columns=[1, "1"]))
        assert "more than one column named 'a'" in fault(pd.DataFrame([[1, 2]], columns=["a", "a"]))
        assert "more than one level" in fault(pd.DataFrame([[1]], columns=pd.MultiIndex.from_tuples([("a", "b")])))
        assert "has no columns" in fault(pd.DataFrame(index=[1, 2]))

    def test_names_of_methods_are_fine_as_columns(self) -> None:
        """A DataFrame is told by its type, not by what it answers to."""
        frame = pd.DataFrame({"name": [1], "columns": [2], "warnings": [3], "chunks": [4], "where": [5]})
        assert all_rows(open_table(frame)) == [(1, 2, 3, 4, 5)]
        assert list(open_table(frame.iloc[:0]).chunks()) == []


class TestParquet:
    def test_types_survive(self, tmp_path: Path) -> None:
        """In the rows as Python's, in the frames as pandas' own, the same in every chunk."""
        moment = dt.datetime(2026, 11, 1, 12, tzinfo=dt.UTC)
        table = pa.table(
            {
                "id": pa.array([1, 2, 3], pa.int64()),
                "gaps": pa.array([1, None, 3], pa.int32()),
                "tiny": pa.array([None, 200, 3], pa.uint8()),
                "flag": pa.array([True, None, False]),
                "text": pa.array(["x", "", None]),
                "price": pa.array([Decimal("1.50"), None, Decimal("2.00")]),
                "day": pa.array([dt.date(2026, 11, 1), None, None]),
                "moment": pa.array([moment, None, moment], pa.timestamp("us", "UTC")),
                "items": pa.array([["a", ""], [], None]),
                "what": pa.array([{"k": 1}, None, {"k": 2}]),
                "whole": pa.array([1.0, None, 3.0]),
                "real": pa.array([1.0, float("nan"), 2.0]),
                "half": pa.array([1.0, None, 2.5]),
                "kind": pa.array(["u", "v", ""]).dictionary_encode(),
                "nothing": pa.nulls(3),
            }
        )
        pq.write_table(table, tmp_path / "t.parquet")
        opened = open_table(tmp_path / "t.parquet")
        for size in (1, 3):
            rows = all_rows(opened, size)
            assert rows[0] == (
                1, 1, None, True, "x", Decimal("1.50"), dt.date(2026, 11, 1), moment, ["a", ""],
                {"k": 1}, 1, 1.0, 1.0, "u", None,
            )  # fmt: skip
            assert rows[1] == (2, None, 200, None, None, None, None, None, [], None, None, None, None, "v", None)
            assert types(rows[0])[:4] == [int, int, type(None), bool]
            assert types(rows[0])[10:13] == [int, float, float]
            frames = [chunk.frame() for chunk in opened.chunks(size)]
            for frame in frames:
                found = {name: str(dtype) for name, dtype in frame.dtypes.items()}
                assert found["id"] == "int64"
                assert (found["gaps"], found["tiny"], found["flag"]) == ("Int32", "UInt8", "boolean")
                assert (found["whole"], found["kind"]) == ("float64", "category")
            assert pd.concat(frames).index.tolist() == [0, 1, 2]
        assert opened.where(2, 5) == "row 2"
        assert all_lines(opened) == [None] * 3

    def test_a_dataframe_reads_the_same_from_parquet(self, tmp_path: Path) -> None:
        """Integers with gaps come as integers, whether the frame is given or its file."""
        frame = pd.DataFrame(
            {"n": [1.0, None, 3.0], "l": [[1], None, []], "p": pd.period_range("2026-01", periods=3, freq="M")}
        )
        frame.to_parquet(tmp_path / "t.parquet", row_group_size=2)
        rows = all_rows(open_table(tmp_path / "t.parquet"))
        assert rows == all_rows(open_table(frame))
        assert [str(row[0]) for row in rows] == ["1", "None", "3"]

    def test_an_unnamed_index_is_no_column(self, tmp_path: Path) -> None:
        """It comes back as the frames' index; one with a name is a column like any other."""
        frame = pd.DataFrame({"a": [1, 2, 3]}, index=["x", "y", "z"])
        frame.to_parquet(tmp_path / "t.parquet")
        table = open_table(tmp_path / "t.parquet")
        assert table.columns == ("a",)
        assert all_rows(table) == [(1,), (2,), (3,)]
        assert_frame_equal(whole_frame(table, 2), frame)

        frame.rename_axis("key").to_parquet(tmp_path / "t.parquet")
        assert open_table(tmp_path / "t.parquet").columns == ("a", "key")

        frame.index = pd.MultiIndex.from_tuples([(1, "x"), (1, "y"), (2, "x")])
        frame.to_parquet(tmp_path / "t.parquet")
        assert_frame_equal(whole_frame(open_table(tmp_path / "t.parquet"), 2), frame)

        frame.index = pd.RangeIndex(10, 16, 2)
        frame.to_parquet(tmp_path / "t.parquet")
        assert_frame_equal(whole_frame(open_table(tmp_path / "t.parquet"), 2), frame)

    @pytest.mark.parametrize(
        "note", [b"{", b"[]", b'{"index_columns": [{"kind": "range"}]}', b'{"index_columns": [1]}']
    )
    def test_a_note_of_pandas_that_makes_no_sense_is_ignored(self, tmp_path: Path, note: bytes) -> None:
        """The rows don't depend on it."""
        table = pa.table({"a": [1, 2]}).replace_schema_metadata({"pandas": note})
        pq.write_table(table, tmp_path / "t.parquet")
        opened = open_table(tmp_path / "t.parquet")
        assert all_rows(opened) == [(1,), (2,)]
        assert whole_frame(opened, 1).index.tolist() == [0, 1]

    def test_files_without_rows_or_statistics(self, tmp_path: Path) -> None:
        """Without statistics, a column may have nulls."""
        table = pa.table({"a": pa.array([1, 2], pa.int64()), "f": pa.array([1.0, None])})
        pq.write_table(table, tmp_path / "t.parquet", write_statistics=False)
        opened = open_table(tmp_path / "t.parquet")
        assert str(whole_frame(opened)["a"].dtype) == "Int64"
        assert [str(row[1]) for row in all_rows(opened)] == ["1", "None"]
        pq.write_table(table.slice(0, 0), tmp_path / "t.parquet")
        assert list(open_table(tmp_path / "t.parquet").chunks()) == []

    def test_bad_files_are_told(self, save: Save, tmp_path: Path) -> None:
        """Damage, doubled names, no columns, and another file in the place of the one opened."""
        assert "t.parquet can't be read as Parquet" in fault(save("t.parquet", b"PAR1 and no more"))
        assert "t.parquet can't be read as Parquet" in fault(save("t.parquet", b""))
        path = tmp_path / "t.parquet"
        pq.write_table(pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"]), path)
        assert "more than one column named 'a'" in fault(path)
        pd.DataFrame(index=["x", "y"]).to_parquet(path)
        assert "t.parquet has no columns" in fault(path)

        pq.write_table(pa.table({"a": ["x" * 9] * 9}), path, compression="none", use_dictionary=False)
        content = path.read_bytes()
        assert "can't be read" in fault(save("t.parquet", content[:8] + b"\xff" * 20 + content[28:]))
        path.write_bytes(content)
        table = open_table(path)
        pq.write_table(pa.table({"a": [1]}), path)
        with pytest.raises(CampaignError, match="was changed while it was in use"):
            all_rows(table)

    def test_a_value_beyond_python_is_told(self, tmp_path: Path) -> None:
        """A date after the year 9999 has no Python value."""
        pq.write_table(pa.table({"when": pa.array([2**60], pa.timestamp("us"))}), tmp_path / "t.parquet")
        assert fault(tmp_path / "t.parquet").startswith(
            "t.parquet, column 'when', rows from 0 on: a value can't be read"
        )

    def test_memory_does_not_grow_with_the_table(self, tmp_path: Path) -> None:
        """Batches are let go once they are read."""
        table = pa.table({"a": np.random.default_rng(1).random(500_000)})
        pq.write_table(table, tmp_path / "t.parquet", row_group_size=10_000)
        size = table.nbytes
        del table
        before, peak = pa.total_allocated_bytes(), 0
        for chunk in open_table(tmp_path / "t.parquet").chunks(5000):
            chunk.rows()
            peak = max(peak, pa.total_allocated_bytes() - before)
        assert peak < size // 4


class TestExcel:
    def test_cells_have_their_types(self, workbook: Callable[..., Path]) -> None:
        """Whole numbers are integers, whatever Excel stored; dates are datetimes."""
        moment = dt.datetime(2026, 11, 1, 12, 30)  # noqa: DTZ001 - Excel knows no time zones
        path = workbook(
            Sheet=[
                [" id ", "price", "name", "when", "ok", 2026.0],
                [1.0, 2.5, "007", moment, True, 1],
                [2, 3.0, None, None, False, None],
            ]
        )
        table = open_table(path)
        assert table.columns == ("id", "price", "name", "when", "ok", "2026")
        rows = all_rows(table)
        assert rows == [(1, 2.5, "007", moment, True, 1), (2, 3, None, None, False, None)]
        assert types(rows[0]) == [int, float, str, dt.datetime, bool, int]
        assert type(rows[1][1]) is int
        found = [str(dtype) for dtype in whole_frame(table).dtypes]
        assert (found[:2], found[4:]) == (["int64", "float64"], ["bool", "Int64"])
        assert found[3].startswith("datetime64")

    def test_empty_rows_and_trailing_columns_do_not_count(self, workbook: Callable[..., Path]) -> None:
        """Rows keep the number they have in the sheet."""
        table = open_table(workbook(Sheet=[[], ["a", "b", " ", None], [], [1, "x"], [" ", ""], [None, "y", None, " "]]))
        assert table.columns == ("a", "b")
        assert all_rows(table) == [(1, "x"), (None, "y")]
        assert all_lines(table, 1) == [4, 6]
        assert table.where(1, 6) == "row 1 (row 6 of the sheet)"

    def test_the_sheet_is_the_named_one_else_the_first(self, workbook: Callable[..., Path]) -> None:
        """An unknown name is answered with the known ones."""
        path = workbook(May=[["a"], [1]], June=[["b"], [2]])
        assert open_table(path).columns == ("a",)
        assert open_table(path, sheet="June").columns == ("b",)
        assert fault(path, sheet="july") == "receipts.xlsx has no sheet 'july'; its sheets are 'May', 'June'"

    def test_excel_errors_are_missing_with_a_warning(self, workbook: Callable[..., Path]) -> None:
        """Nobody wants to read #N/A in an email."""
        table = open_table(workbook(Sheet=[["a"], ["#N/A"], ["#DIV/0!"], ["#1"]]))
        assert all_rows(table) == [(None,), (None,), ("#1",)]
        assert table.warnings == (
            "receipts.xlsx: 2 of its cells hold an Excel error such as #N/A and count as missing",
        )

    def test_bad_sheets_are_told(self, workbook: Callable[..., Path], save: Save) -> None:
        """Each fault has its line."""
        assert "has an empty sheet" in fault(workbook(Sheet=[]))
        assert "column B of the sheet has no name; name it in row 2" in fault(workbook(Sheet=[[], ["a", None], [1, 2]]))
        assert "more than one column named 'a'" in fault(workbook(Sheet=[["a", "a "], [1, 2]]))
        assert "column A of the sheet has no name" in fault(workbook(Sheet=[["#N/A", "b"], [1, 2]]))
        assert "can't be read as an Excel workbook" in fault(save("t.xlsx", b"PK\x03\x04"))
        assert list(open_table(workbook(Sheet=[["a"]])).chunks()) == []

    def test_a_workbook_of_charts_only_is_told(self, tmp_path: Path) -> None:
        """A chart has no rows."""
        book = openpyxl.Workbook()
        book.create_chartsheet("Chart").add_chart(BarChart())
        book.remove(book.worksheets[0])
        book.save(tmp_path / "t.xlsx")
        assert "t.xlsx has no sheet with cells" in fault(tmp_path / "t.xlsx")

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (b'<dimension ref="A1:B2"', b'<dimension ref="A1"'),
            (b"<v>1</v>", b"<v>1.0</v>"),
            (b"<v>2</v>", b"<v>2E0</v>"),
        ],
    )
    def test_other_writers_files_read_the_same(
        self, workbook: Callable[..., Path], tmp_path: Path, old: bytes, new: bytes
    ) -> None:
        """Some state that a sheet is one cell large, some store integers as floats."""
        path, sheet = workbook(Sheet=[["a", "b"], [1, 2]]), "xl/worksheets/sheet1.xml"
        with zipfile.ZipFile(path) as source, zipfile.ZipFile(tmp_path / "other.xlsx", "w") as target:
            for name in source.namelist():
                content = source.read(name)
                assert name != sheet or old in content
                target.writestr(name, content.replace(old, new) if name == sheet else content)
        rows = all_rows(open_table(tmp_path / "other.xlsx"))
        assert rows == [(1, 2)]
        assert types(rows[0]) == [int, int]

    def test_without_openpyxl_the_cure_is_told(
        self, workbook: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It is an extra that not everybody installs."""
        path = workbook(Sheet=[["a"]])
        monkeypatch.delitem(sys.modules, "turbobatch.recipients.excel", raising=False)
        monkeypatch.setitem(sys.modules, "openpyxl", None)
        assert 'pip install "turbobatch-mail[excel]"' in fault(path)


class TestJsonLines:
    def test_columns_are_the_union_of_keys(self, save: Save) -> None:
        """In order of appearance; what is absent is missing, and integers stay integers."""
        table = open_table(
            save(
                "t.jsonl",
                codecs.BOM_UTF8
                + b'{"b": 1, "a": "x", "f": 1.0, "big": 36893488147419103232}\r\n\n'
                + '{"a": "", "c": {"k": [1, "é"]}, "ok": true}\n{"b": null, "f": NaN, "ok": false, "w": 2.0}'.encode(),
            )
        )
        assert table.columns == ("b", "a", "f", "big", "c", "ok", "w")
        rows = all_rows(table)
        assert rows == [
            (1, "x", 1.0, 2**65, None, None, None),
            (None, None, None, None, {"k": [1, "é"]}, True, None),
            (None, None, None, None, None, False, 2),
        ]
        assert (type(rows[0][0]), type(rows[0][2]), type(rows[2][6])) == (int, float, int)
        frame = whole_frame(table, 2)
        assert (str(frame["b"].dtype), str(frame["ok"].dtype), str(frame["w"].dtype)) == ("Int64", "boolean", "Int64")
        assert frame["big"].tolist()[0] == 2**65
        assert frame["a"].tolist()[1] == ""
        assert all_lines(table, 2) == [1, 3, 4]
        assert all_rows(open_table(save("s.jsonl", rb'{"a": "\ud83d\ude00"}'))) == [("\U0001f600",)]
        assert table.where(1, 3) == "row 1 (line 3 of t.jsonl)"

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            (b"[1]", "t.jsonl, line 2 is no JSON object"),
            (b'{"a": 1', "t.jsonl, line 2 is no valid JSON: "),
            (b'{"a": 1} {}', "t.jsonl, line 2 is no valid JSON: "),
            (b'{"a": "\xe9"}', "t.jsonl, line 2 is not valid UTF-8"),
            (b'{"a": ' + b"9" * 5000 + b"}", "t.jsonl, line 2 is no valid JSON: "),
            (rb'{"a": ["\uD83d"]}', "t.jsonl, line 2 holds half of a surrogate pair"),
            (b"[" * 100_000, "t.jsonl, line 2 is nested more than 48 levels deep: flatten it"),
            (b'{"a": ' + b"[" * 48 + b"1" + b"]" * 48 + b"}", "t.jsonl, line 2 is nested more than 48 levels deep"),
        ],
    )
    def test_a_bad_line_is_told(self, save: Save, line: bytes, message: str) -> None:
        """By its number."""
        assert fault(save("t.jsonl", b'{"a": 1}\n' + line + b"\n")).startswith(message)

    def test_nesting_within_reason_is_read(self, save: Save) -> None:
        """Many brackets make no depth, and some depth is fine."""
        line = b'{"a": ' + b"[" * 46 + b"[1], " * 99 + b"[]" + b"]" * 46 + b"}"
        assert len(all_rows(open_table(save("t.jsonl", line)))) == 1

    def test_a_file_without_cells_is_told(self, save: Save) -> None:
        """Nothing names the columns then."""
        assert "t.jsonl is empty" in fault(save("t.jsonl", "\n \n"))
        assert "t.jsonl has no columns" in fault(save("t.jsonl", "{}\n{}"))


# What Excel leaves behind


def test_a_sep_line_names_the_delimiter(tmp_path: Path) -> None:
    """Excel's first line `sep=;` is no header, and lines count on from it."""
    path = tmp_path / "excel.csv"
    path.write_bytes(b"\xef\xbb\xbfsep=;\r\nname;email\r\nDoe, Jane;jane@example.org\r\n")
    table = open_table(path)
    (chunk,) = table.chunks()
    assert table.columns == ("name", "email")
    assert chunk.rows() == [("Doe, Jane", "jane@example.org")]
    assert chunk.line(0) == 3


def test_columns_without_name_and_value_are_left_out(tmp_path: Path) -> None:
    """Emptied columns leave delimiters at the ends of all lines; a value in one of them is told, not lost."""
    path = tmp_path / "ghosts.csv"
    path.write_text("name;email;;\nAna;ana@example.org;;\n", encoding="utf-8")
    assert next(iter(open_table(path).chunks())).rows() == [("Ana", "ana@example.org")]
    path.write_text("name;email;;\nAna;ana@example.org;;x\n", encoding="utf-8")
    with pytest.raises(CampaignError, match=r"row 0 \(line 2 of ghosts\.csv\) has a value in a last column without"):
        list(open_table(path).chunks())


def test_rows_of_delimiters_alone_are_no_rows(tmp_path: Path) -> None:
    """Emptied rows are skipped, wherever they are, and the others keep their lines."""
    path = tmp_path / "ghosts.csv"
    path.write_text("name;email\n;\nAna;ana@example.org\n;\n;\n", encoding="utf-8")
    (chunk,) = open_table(path).chunks()
    assert chunk.rows() == [("Ana", "ana@example.org")]
    assert chunk.line(0) == 3


# Files and frames that change while they are in use


def people(names: list[str]) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{number:05}" for number in range(len(names))], "name": names})


def save_people(path: Path, names: list[str]) -> None:
    frame = people(names)
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path, index=False)


def rewrite(path: Path) -> None:
    """Save the file in place, with every later row at another offset."""
    save_people(path, ["Anna", *["Bea"] * 5999])


def replace(path: Path) -> None:
    """Save it as many editors do: another file takes the name."""
    new = path.with_stem("new")
    save_people(new, ["Ann", *["Bea"] * 5999])
    new.replace(path)


def cut(path: Path) -> None:
    """What another program's save looks like when it has just begun."""
    path.open("wb").close()


def touch(path: Path) -> None:
    """Save as many bytes as there were, at another time."""
    info = path.stat()
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns + 1))


@pytest.mark.parametrize("change", [rewrite, replace, cut, touch, Path.unlink])
@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_no_rows_of_two_versions_are_read_as_one_table(
    tmp_path: Path, ending: str, change: Callable[[Path], None]
) -> None:
    """However the file is changed after the first rows were read: no more rows come, nor of a next reading."""
    path = tmp_path / f"people{ending}"
    save_people(path, ["Ana", *["Bea"] * 5999])
    table = open_table(path)
    chunks = iter(table.chunks(2000))
    assert next(chunks).rows()[0] == ("00000", "Ana")
    change(path)
    with pytest.raises(CampaignError, match=rf"people{ending} was changed while it was in use"):
        next(chunks)
    with pytest.raises(CampaignError, match=r"was changed while it was in use|can't be read"):
        next(iter(table.chunks(2000)))
    assert table.version is not None
    assert not table.version.is_current()


def test_a_file_that_is_cut_after_its_last_row_was_read_is_told(save: Save) -> None:
    """The end counts as read: it may be the end of another version."""
    path = save("t.csv", "a\n1\n")
    chunks = iter(open_table(path).chunks(1))
    next(chunks)
    save("t.csv", "a\n1\n2\n")
    with pytest.raises(CampaignError, match="was changed while it was in use"):
        next(chunks)


@pytest.mark.parametrize("ending", [".xlsx", ".jsonl"])
def test_what_is_loaded_whole_knows_its_version(tmp_path: Path, ending: str) -> None:
    """Its rows stay as they were opened, and it can tell that the file isn't that one any more."""
    path = tmp_path / f"people{ending}"
    frame = people(["Ana", "Bea"])
    frame.to_excel(path, index=False) if ending == ".xlsx" else frame.to_json(path, orient="records", lines=True)
    table = open_table(path)
    assert table.version is not None
    assert table.version.is_current()
    path.write_bytes(path.read_bytes() + b"\n")
    assert [row[1] for row in all_rows(table)] == ["Ana", "Bea"]
    assert not table.version.is_current()


@pytest.mark.parametrize(
    "change",
    [
        lambda frame: frame.__setitem__("name", "X"),
        lambda frame: frame.loc.__setitem__((0, "name"), "X"),
        lambda frame: frame.iloc.__setitem__((0, 1), "X"),
        lambda frame: frame.at.__setitem__((1, "id"), "X"),
        lambda frame: frame["name"].array.__setitem__(0, "X"),
        lambda frame: frame.insert(0, "new", 1),
        lambda frame: frame.pop("name"),
        lambda frame: setattr(frame, "columns", ["x", "y"]),
    ],
)
def test_a_frame_that_its_owner_changes_stays_as_it_was_opened(change: Callable[[pd.DataFrame], None]) -> None:
    """A run in the background reads it long after the cell that started it."""
    frame = people(["Ana", "Bea", "Cem"])
    table = open_table(frame)
    chunks = iter(table.chunks(1))
    next(chunks)
    change(frame)
    assert [row for chunk in chunks for row in chunk.rows()] == [("00001", "Bea"), ("00002", "Cem")]
    assert all_rows(table)[0] == ("00000", "Ana")
