"""Reports: every format gives back what was written, and a report is there whole or not at all."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from turbobatch import report as report_module
from turbobatch.audit import audit, audit_chunks
from turbobatch.errors import CampaignError
from turbobatch.policy import Status
from turbobatch.report import check_report_path, neutralised, read_report, report_format, write_report
from turbobatch.results import RESULT_COLUMNS, RowVerdict, joined

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DATA = (".csv", ".tsv", ".parquet", ".xlsx")
ALL = (*DATA, ".html")
VERDICTS = [
    RowVerdict(Status.SENT, "OK", (), "1688566310828572700", 200, 1, 1_795_399_327.019991, 0.0033, "001"),
    RowVerdict(
        Status.REJECTED, "error", ("'a, b' 'to' email not valid", 'say "no"\n\u00fc'), None, 400, 2, 1e9, 1.5, "2"
    ),
    RowVerdict(Status.INVALID, "row 2: column 'name' is blank", ("column 'name' is blank",), send_time=1.0),
    RowVerdict(Status.PENDING),
]
DTYPES = {
    "send_status": "string", "send_message": "string", "send_errors": "object", "send_mid": "string",
    "send_http_status": "Int16", "send_attempts": "Int16", "send_time": "datetime64[us, UTC]",
    "send_seconds": "float64", "send_key": "string",
}  # fmt: skip
FORMULAS = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-2+3",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\uff1d1",
    "\uff0b1",
    "\uff0d1+1",
    "\uff201",
    "=HYPERLINK(1)",
    "-",
    "+",
]
NUMBERS = ["-5", "+3.50", "-1,234.5", "+49 170 1234567", "-12%", "7", "", "a=b", "x@y.example"]


def results(own: dict[str, list[Any]] | None = None) -> pd.DataFrame:
    """Four rows with a verdict of each kind."""
    return joined(pd.DataFrame(own or {"id": ["1", "2", "3", "4"]}), VERDICTS)


def texts(frame: pd.DataFrame) -> dict[str, list[Any]]:
    return {str(name): frame[name].tolist() for name in frame.columns}


def plain_rows(count: int) -> pd.DataFrame:
    """Rows that are all alike."""
    return joined(pd.DataFrame({"text": ["x"] * count}), [VERDICTS[0]] * count)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report"


# What is written is what is read


@pytest.mark.parametrize("ending", DATA)
def test_result_columns_come_back_in_their_types(ending: str, path: Path) -> None:
    """Whatever the format, the result columns have the types that the design's table names."""
    written = write_report(results(), path.with_suffix(ending))
    assert {name: str(kind) for name, kind in results()[list(RESULT_COLUMNS)].dtypes.items()} == DTYPES
    assert_frame_equal(read_report(written), results())


@pytest.mark.parametrize("ending", DATA)
def test_a_table_without_rows_comes_back(ending: str, path: Path) -> None:
    """No rows is a report too, with its columns and their types."""
    written = write_report(results().iloc[:0], path.with_suffix(ending))
    found = read_report(written)
    assert (len(found), list(found.columns)) == (0, ["id", *RESULT_COLUMNS])
    assert {name: str(kind) for name, kind in found[list(RESULT_COLUMNS)].dtypes.items()} == DTYPES


@pytest.mark.unmeasured
@pytest.mark.parametrize("ending", DATA)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_own_columns_are_verbatim(ending: str, path: Path, data: st.DataObject) -> None:
    """Any text comes back as it was: "007", "12.50", "NA", quotes, line breaks, any script."""
    # Excel can't hold control characters; its own escapes (_x000D_) and formulas are other tests' subject.
    excluded = {".parquet": "", ".xlsx": "".join(map(chr, (*range(32), 0xFFFE, 0xFFFF))) + "=+-@_"}.get(ending, "\0")
    cells = st.text(st.characters(codec="utf-8", exclude_characters=excluded)) | st.sampled_from(
        ["007", "12.50", "NA", "null", "nan", "", " ", "1e5", "a,b\tc;d", '"', "'", "True", "2026-01-01"]
    )
    own = {"x": data.draw(st.lists(cells, min_size=4, max_size=4)), "y, z": ["007", "12.50", "NA", '"q" \u4f60\u597d']}
    written = write_report(results(own), path.with_suffix(ending))
    assert texts(read_report(written)[["x", "y, z"]]) == own


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("cell", ["a\rb", "a\nb", "a\r\nb", "\r", "\n", "\r\n", "a\x0bb", "a\x85b\u2028c"])
def test_line_breaks_stay_in_their_cell(cell: str, ending: str, path: Path) -> None:
    """A cell with any line break is one cell of one row."""
    written = write_report(results({"x": [cell] * 4}), path.with_suffix(ending))
    assert read_report(written)["x"].tolist() == [cell] * 4
    assert len(read_report(written)) == 4


def test_csv_lines_end_as_unix_tools_like_them(path: Path) -> None:
    """Rows end with LF, also the one whose cell holds CRs, and Python's own reader agrees about the cells."""
    write_report(results({"x": ["a\r", "b\r\n", "c\n", "d"]}), path.with_suffix(".csv"))
    text = path.with_suffix(".csv").read_bytes().decode()
    assert list(csv.reader(io.StringIO(text, newline="")))[1:] == [
        [cell, *row[1:]] for cell, row in zip(["a\r", "b\r\n", "c\n", "d"], csv_rows(path), strict=True)
    ]
    assert text.startswith("x,send_status,")
    assert not text.replace('"a\r"', "").replace('"b\r\n"', "").count("\r")


def csv_rows(path: Path) -> list[list[str]]:
    with path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))[1:]


@pytest.mark.parametrize("ending", ALL)
def test_half_a_character_is_no_reason_to_lose_a_report(ending: str, path: Path) -> None:
    """A lone surrogate, which no file can hold, is written as its escape or left out."""
    own = pd.DataFrame({"x": ["a\ud800b", "c", "d", "e"]}, dtype=object)
    written = write_report(joined(own, VERDICTS), path.with_suffix(ending))
    if ending != ".html":
        assert read_report(written)["x"].tolist()[1:] == ["c", "d", "e"]
        assert read_report(written)["x"].tolist()[0].startswith("a")


def test_text_formats_write_lists_as_json_and_times_as_iso(path: Path) -> None:
    """A CSV's errors are JSON, its times ISO 8601 in UTC, its missing values empty."""
    write_report(results(), path.with_suffix(".csv"))
    with path.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["send_time"] == "2026-11-23T02:02:07.019991Z"
    assert rows[0]["send_errors"] == "[]"
    assert rows[1]["send_errors"] == '["\'a, b\' \'to\' email not valid", "say \\"no\\"\\n\u00fc"]'
    assert [rows[3][name] for name in RESULT_COLUMNS] == ["pending", "", "[]", "", "", "0", "", "", ""]


def test_parquet_has_arrow_types_of_its_own(path: Path) -> None:
    """Lists are lists of strings, numbers are 16 bits wide, times are in UTC: for readers other than pandas."""
    write_report(results(), path.with_suffix(".parquet"))
    schema = pq.read_schema(path.with_suffix(".parquet"))
    assert {name: str(schema.field(name).type) for name in RESULT_COLUMNS} == {
        "send_status": "string", "send_message": "string", "send_errors": "list<element: string>",
        "send_mid": "string", "send_http_status": "int16", "send_attempts": "int16",
        "send_time": "timestamp[us, tz=UTC]", "send_seconds": "double", "send_key": "string",
    }  # fmt: skip
    assert not pq.read_table(path.with_suffix(".parquet"))["send_errors"].null_count


@pytest.mark.parametrize("ending", ALL)
def test_chunks_make_the_same_report_as_the_whole(ending: str, path: Path) -> None:
    """Results may come in pieces, in order; there is one header."""
    whole = write_report(results(), path.with_name(f"whole{ending}"))
    pieces = write_report(iter([results().iloc[:1], results().iloc[1:]]), path.with_name(f"pieces{ending}"))
    if ending == ".html":
        assert whole.read_text() == pieces.read_text()
    else:
        assert_frame_equal(read_report(whole), read_report(pieces))


def test_pieces_that_disagree_about_a_type_are_one_line(path: Path) -> None:
    """A later chunk that doesn't fit the first one's types can't be written as Parquet; a CSV takes it."""
    pieces = [results({"x": [1, 2, 3, 4]}), results({"x": ["a", "b", "c", "d"]})]
    with pytest.raises(CampaignError, match=r"column 'x' holds \w*string beside int64: write a \.csv report"):
        write_report(iter(pieces), path.with_suffix(".parquet"))
    assert len(read_report(write_report(iter(pieces), path.with_suffix(".csv")))) == 8


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, "a", 2.5, None], "string"),
        ([2**70, 1, 2, 3], "string"),
        ([1 + 2j, 1, 2, 3], "string"),
        ([None] * 4, "string"),
        ([1, None, 2, 3], "double"),
        (pd.array([1, None, 2, 3], dtype="UInt8"), "uint8"),
        (pd.Categorical(["a", "b", "a", None]), "dictionary<values=string, indices=int8, ordered=0>"),
        (pd.array([1, 0, 0, 2], dtype=pd.SparseDtype("int64", 0)), "string"),
        ([pd.Timestamp("2026-01-01"), None, None, None], "timestamp[us]"),
    ],
)
def test_any_column_can_be_written_as_parquet(values: Any, kind: str, path: Path) -> None:
    """Types that Arrow knows are kept; what it doesn't, or a mixture, becomes text."""
    own = pd.DataFrame({"x": values})
    write_report(joined(own, VERDICTS), path.with_suffix(".parquet"))
    assert str(pq.read_schema(path.with_suffix(".parquet")).field("x").type).replace("large_", "") == kind


def test_a_type_that_parquet_has_not_is_one_line(path: Path) -> None:
    """Arrow knows types that Parquet can't hold."""
    own = pd.DataFrame({"x": [pd.DateOffset(months=1)] * 4})
    with pytest.raises(CampaignError, match=r"can't be written as Parquet .*: write a \.csv report"):
        write_report(joined(own, VERDICTS), path.with_suffix(".parquet"))
    assert list(path.parent.iterdir()) == []


def test_integers_with_gaps_come_back_as_integers(path: Path) -> None:
    """A long id beside a missing one loses no digit."""
    own = pd.DataFrame({"x": pd.array([1688566310828572700, None, 1, 2], dtype="Int64")})
    write_report(joined(own, VERDICTS), path.with_suffix(".parquet"))
    found = read_report(path.with_suffix(".parquet"))["x"]
    assert str(found.dtype) == "Int64"
    assert found[0] == 1688566310828572700


def test_column_names_that_are_no_text_are_written(path: Path) -> None:
    """A DataFrame's columns may be numbered."""
    own = pd.DataFrame([["=a"], ["b"], ["c"], ["d"]])
    for ending in DATA:
        written = write_report(joined(own, VERDICTS), path.with_suffix(ending), for_excel=True)
        assert [str(name) for name in read_report(written).columns] == ["0", *RESULT_COLUMNS]


@pytest.mark.unmeasured
def test_many_rows_are_written_and_read(path: Path) -> None:
    """100,000 rows, in chunks, as CSV and Parquet."""
    for ending in (".csv", ".parquet"):
        written = write_report((plain_rows(5000) for _ in range(20)), path.with_suffix(ending))
        assert len(read_report(written)) == 100_000


# Excel


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_made_harmless(text: str) -> None:
    """A text that Excel would run gets a quote before it."""
    assert neutralised(text) == "'" + text


@pytest.mark.parametrize("value", [*NUMBERS, -5, 2.5, None])
def test_numbers_and_other_texts_are_left_alone(value: Any) -> None:
    """A sign alone makes no formula of a number."""
    assert neutralised(value) is value


@given(st.text(alphabet="=+-@\t\r\n\uff1d\uff0d 0123456789.,%a(|\u00a0", max_size=8))
@example("\r5")
@example("-1\t")
def test_nothing_that_begins_like_a_formula_gets_through(text: str) -> None:
    """Whatever begins like a formula is a plain number or has a quote."""
    made = neutralised(text)
    assert made in (text, "'" + text)
    if made == text and text[:1] in tuple("=+-@\t\r\n\uff1d\uff0d"):
        assert re.fullmatch(r"[-+][\d., \xa0]+%?", text)


def test_workbooks_hold_no_formula(path: Path) -> None:
    """In .xlsx no cell is one, header included; numbers are numbers, and too long ones texts."""
    own = pd.DataFrame(
        {
            "=name": [*FORMULAS[:4]],
            "number": [1.5, float("nan"), float("inf"), -2.0],
            "id": pd.array([1688566310828572700, None, 7, -3], dtype="Int64"),
            "flag": [True, False, None, True],
            "when": [pd.Timestamp("2026-11-01 10:00"), None, None, None],
        }
    )
    write_report(joined(own, VERDICTS), path.with_suffix(".xlsx"))
    book = openpyxl.load_workbook(path.with_suffix(".xlsx"))
    rows = [[cell.value for cell in row] for row in book.active.iter_rows()]  # type: ignore[union-attr]  # it has a sheet
    assert all(cell.data_type != "f" for row in book.active.iter_rows() for cell in row)  # type: ignore[union-attr]  # it has a sheet
    assert rows[0][:3] == ["'=name", "number", "id"]
    assert rows[1][:5] == ["'=1+1", 1.5, "1688566310828572700", True, "2026-11-01 10:00:00"]
    assert rows[2][:5] == ["'+cmd|' /C calc'!A0", None, None, False, None]
    assert rows[3][1:4] == ["inf", 7, None]
    assert rows[4][2] == -3
    assert rows[1][5:9] == ["sent", "OK", "[]", "1688566310828572700"]
    assert rows[1][9:] == [200, 1, "2026-11-23T02:02:07.019991Z", 0.0033, "001"]
    book.close()


def test_workbooks_show_what_they_cannot_hold(path: Path) -> None:
    """Control characters are left out; a text beyond a cell's limit ends in an ellipsis."""
    write_report(results({"x": ["a\x00b\x1bc\uffff", "x" * 32_767, "x" * 32_768, "d"]}), path.with_suffix(".xlsx"))
    found = read_report(path.with_suffix(".xlsx"))["x"].tolist()
    assert found == ["abc", "x" * 32_767, "x" * 32_766 + "\u2026", "d"]


def test_a_sheet_has_its_limit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More rows than a sheet holds is one line, before a wrong file is there."""
    monkeypatch.setattr(report_module, "_EXCEL_ROWS", 4)
    with pytest.raises(CampaignError, match=r"a sheet holds 4 rows and no more: write a \.csv or \.parquet report"):
        write_report(results(), path.with_suffix(".xlsx"))
    assert list(path.parent.iterdir()) == []


def test_without_openpyxl_the_cure_is_named(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Excel files need a package that isn't always there; that shows before a run."""
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(CampaignError, match=r"Excel files need openpyxl: pip install"):
        check_report_path(path.with_suffix(".xlsx"))


@pytest.mark.parametrize("ending", [".csv", ".tsv"])
def test_text_for_excel_is_safe_and_marked(ending: str, path: Path) -> None:
    """With `for_excel` formulas are harmless, the header's too; numbers, dates and the results stay as they are."""
    own = pd.DataFrame(
        {"=x": FORMULAS[:4], "n": [-1.5, 2.0, 3.0, 4.0], "when": pd.to_datetime(["2026-11-01"] * 4), "t": NUMBERS[:4]}
    )
    plain = write_report(joined(own, VERDICTS), path.with_name(f"plain{ending}"))
    safe = write_report(joined(own, VERDICTS), path.with_name(f"safe{ending}"), for_excel=True)
    assert safe.read_bytes().startswith(b"\xef\xbb\xbf")
    assert not plain.read_bytes().startswith(b"\xef")
    assert read_report(safe)["'=x"].tolist() == ["'" + text for text in FORMULAS[:4]]
    assert read_report(plain)["=x"].tolist() == FORMULAS[:4]
    assert_frame_equal(read_report(safe).drop(columns="'=x"), read_report(plain).drop(columns="=x"))


@pytest.mark.parametrize("name", ["x", "\ud800"])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".xlsx"])
def test_half_a_character_is_written_for_excel_too(ending: str, name: str, path: Path) -> None:
    """In a cell or a column's name, beside a formula: no report is lost for it."""
    own = pd.DataFrame({"id": range(4), "=x": pd.Series(["\udc00", "=1", "\ud83d", None], dtype=object)})
    own.columns = pd.Index([name, "=x"], dtype=object)
    written = read_report(write_report(joined(own, VERDICTS), path.with_suffix(ending), for_excel=True))
    assert written["send_status"].tolist() == ["sent", "rejected", "invalid", "pending"]
    assert written["'=x"].tolist()[1] == "'=1"


def test_columns_whose_names_meet_when_made_harmless_keep_their_cells(path: Path) -> None:
    """Each column stays what it was."""
    own = pd.DataFrame({"=x": ["=1"] * 4, "'=x": ["b"] * 4})
    lines = write_report(joined(own, VERDICTS), path.with_suffix(".csv"), for_excel=True).read_text("utf-8").split("\n")
    assert lines[1].startswith("'=1,b,sent")


def test_the_frame_that_is_written_stays_as_it_is(path: Path) -> None:
    """Making a report safe changes a copy."""
    frame = results({"=x": FORMULAS[:4]})
    for ending in ALL:
        write_report(frame, path.with_suffix(ending), for_excel=True)
    assert_frame_equal(frame, results({"=x": FORMULAS[:4]}))


# Whole or not at all


def broken(error: BaseException) -> Iterator[pd.DataFrame]:
    yield results()
    raise error


@pytest.mark.parametrize("ending", ALL)
@pytest.mark.parametrize("error", [CampaignError("the table ends"), KeyboardInterrupt(), OSError(28, "disk full")])
def test_an_error_leaves_the_old_report_and_nothing_else(error: BaseException, ending: str, path: Path) -> None:
    """Whatever happens while a report is written, the one before stays whole, and no other file is left."""
    old = path.with_suffix(ending)
    old.write_text("the one before", encoding="utf-8")
    expected = CampaignError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected):
        write_report(broken(error), old)
    assert old.read_text(encoding="utf-8") == "the one before"
    assert list(path.parent.iterdir()) == [old]


def test_what_is_written_outlives_a_crash_of_the_machine(
    path: Path, synced: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content is on the disk before it takes its name, and the name before it counts as written."""
    before: list[int] = []
    replace = os.replace

    def noting(old: Path, new: Path) -> None:
        before.extend(synced)
        replace(old, new)

    monkeypatch.setattr(os, "replace", noting)
    written = write_report(results(), path.with_suffix(".csv"))
    assert before == [written.stat().st_ino]
    assert synced == [*before, path.parent.stat().st_ino]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read(mask: int, mode: int, path: Path) -> None:
    """A report is a file like any other that the user makes, also where it replaces one."""
    before = os.umask(mask)
    try:
        for _ in range(2):
            written = write_report(results(), path.with_suffix(".csv"))
            assert stat.S_IMODE(written.stat().st_mode) == mode
            written.chmod(0o640)
    finally:
        os.umask(before)


WRITER = """
import sys
from turbobatch.report import replacing
from pathlib import Path
with replacing(Path(sys.argv[1])) as temporary:
    temporary.write_text("half of it")
    print("writing", flush=True)
    sys.stdin.readline()
"""


def test_the_next_write_removes_what_killed_ones_left_and_nothing_else(path: Path) -> None:
    """A writer killed in the midst leaves a hidden file until then; one that lives keeps its own and ends well."""
    report = path.with_suffix(".csv")
    others = [path.with_name(name) for name in (".other.csv.0123abcd.tmp", ".report.csv.notes.tmp", "report.csv.tmp")]
    for other in others:
        other.write_text("mine")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, report], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    killed, alive = writers
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "writing\n"
    killed.kill()
    killed.wait()
    hidden = set(path.parent.glob(".report.csv.????????.tmp"))
    assert len(hidden) == 2
    write_report(results(), report)
    left = set(path.parent.glob(".report.csv.????????.tmp"))
    assert len(left) == 1
    assert left < hidden
    assert len(read_report(report)) == 4
    alive.communicate("\n")
    assert alive.returncode == 0
    killed.communicate()
    assert report.read_text() == "half of it"
    assert set(path.parent.iterdir()) == {report, *others}


def test_long_names_are_no_trouble(path: Path) -> None:
    """The temporary file's name fits where the report's does."""
    written = write_report(results(), path.with_name("\u00fc" * 120 + ".csv"))
    assert len(read_report(written)) == 4


# What is refused


def test_a_path_is_checked_before_a_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No ending, an unknown one, a folder, no folder, a read-only folder: one line each."""
    with pytest.raises(CampaignError, match=r"report: the name has no ending to tell the format by: use \.csv \.tsv"):
        check_report_path(path)
    with pytest.raises(CampaignError, match=r"there is no report format '\.docx': use \.csv"):
        check_report_path(path.with_suffix(".docx"))
    (path.parent / "dir.csv").mkdir()
    with pytest.raises(CampaignError, match=r"dir\.csv is a folder: name a file in it"):
        check_report_path(path.parent / "dir.csv")
    with pytest.raises(CampaignError, match=r"can't be written: there is no folder .*nowhere"):
        check_report_path(path.parent / "nowhere" / "report.csv")
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(CampaignError, match=r"can't be written: its folder is read-only"):
        check_report_path(path.with_suffix(".csv"))


def test_endings_know_no_case(path: Path) -> None:
    """REPORT.CSV is a CSV file."""
    assert report_format("REPORT.CSV") == ".csv"
    assert len(read_report(write_report(results(), path.with_suffix(".CSV")))) == 4


def test_a_folder_that_takes_no_file_is_one_line(path: Path) -> None:
    """The system's reason is named."""
    with pytest.raises(CampaignError, match=r"report\.csv can't be written: No such file or directory"):
        write_report(results(), path.parent / "nowhere" / "report.csv")


@pytest.mark.parametrize("there", [True, False])
def test_a_symlink_stays_one(there: bool, path: Path) -> None:
    """The report takes the place of the file that it leads to, in that one's folder, also if it isn't there yet."""
    folder = path.parent / "elsewhere"
    folder.mkdir()
    if there:
        (folder / "real.csv").write_text("before")
    link = path.with_suffix(".csv")
    link.symlink_to("elsewhere/real.csv")
    check_report_path(link)
    assert write_report(results(), link) == link
    assert link.readlink().as_posix() == "elsewhere/real.csv"
    assert len(read_report(folder / "real.csv")) == 4
    assert [item.name for item in folder.iterdir()] == ["real.csv"]


def test_a_symlink_that_leads_nowhere_is_told_before_a_run(path: Path) -> None:
    """Its folder is missing, or it isn't a file that can be replaced."""
    link = path.with_suffix(".csv")
    link.symlink_to(path.parent / "nowhere" / "real.csv")
    with pytest.raises(CampaignError, match=r"there is no folder \S+nowhere$"):
        check_report_path(link)
    with pytest.raises(CampaignError, match=r"can't be written: No such file or directory"):
        write_report(results(), link)
    os.mkfifo(path.with_suffix(".tsv"))
    for refuse in (check_report_path, lambda pipe: write_report(results(), pipe)):
        with pytest.raises(CampaignError, match=r"report\.tsv can't be written: it is no regular file"):
            refuse(path.with_suffix(".tsv"))


@pytest.mark.parametrize("ending", DATA)
def test_a_file_that_is_none_is_one_line(ending: str, path: Path) -> None:
    """A missing file, an empty one, another format's bytes, and a table that is no report."""
    report = path.with_suffix(ending)
    with pytest.raises(CampaignError, match=r"^report \S+ can't be read: No such file or directory$"):
        read_report(report)
    for content in (b"", b"\x00\xff\xfe\x80PAR1", b'a,b\n1,"2\n'):
        report.write_bytes(content)
        with pytest.raises(CampaignError, match=r"^[^\n]*report[^\n]*$"):
            read_report(report)
    write_report(pd.DataFrame({"a": [1]}), report)
    with pytest.raises(CampaignError, match=r"is no report: it has no column 'send_status'"):
        read_report(report)


def test_a_page_is_not_read_back(path: Path) -> None:
    """HTML is for people."""
    written = write_report(results(), path.with_suffix(".html"))
    with pytest.raises(CampaignError, match=r"is a page for people: read the \.csv or \.parquet one"):
        read_report(written)


@pytest.mark.parametrize(
    ("column", "cell"),
    [
        ("send_http_status", "four hundred"),
        ("send_attempts", "99999"),
        ("send_time", "yesterday"),
        ("send_errors", "[oh"),
        ("send_errors", "5"),
        ("send_seconds", "1,5"),
    ],
)
def test_results_changed_by_hand_are_one_line(column: str, cell: str, path: Path) -> None:
    """What can't be read in a result column's type isn't guessed."""
    frame = results().astype(object)
    frame[column] = cell
    frame.to_csv(path.with_suffix(".csv"), index=False)
    with pytest.raises(CampaignError, match=r"report .*report\.csv: its result columns were changed by hand: "):
        read_report(path.with_suffix(".csv"))


def test_a_frame_of_anything_can_be_written(path: Path) -> None:
    """Problems and audits are written by the same writer."""
    frame = pd.DataFrame({"row": [1, 2], "field": ["to", None], "send_key": ["1", None]})
    write_report(frame, path.with_suffix(".parquet"))
    assert pq.read_table(path.with_suffix(".parquet")).to_pydict() == {
        "row": [1, 2],
        "field": ["to", None],
        "send_key": ["1", None],
    }
    assert pq.read_schema(path.with_suffix(".parquet")).field("send_key").type == pa.string()


@pytest.mark.parametrize("ending", DATA)
@pytest.mark.parametrize("size", [1, 3, 4, 5])
def test_a_report_is_read_back_the_same_in_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, size: int
) -> None:
    """Whatever their size; audits of chunks are the audit of the whole."""
    written = write_report(results({"id": ["1", "2", "3", "4"], "n": [1, None, 3, 4]}), tmp_path / f"r{ending}")
    whole = read_report(written)
    monkeypatch.setattr(report_module, "_CHUNK", size)
    chunks = list(report_module.report_chunks(written))
    assert max(map(len, chunks)) == (4 if ending == ".xlsx" else min(size, 4))
    assert_frame_equal(whole, pd.concat(chunks))
    assert_frame_equal(read_report(written), whole)
    assert_frame_equal(audit(chunks), audit(whole))


@pytest.mark.parametrize("ending", DATA)
def test_a_report_without_rows_is_read_back_with_its_columns(tmp_path: Path, ending: str) -> None:
    found = read_report(write_report(results().iloc[:0], tmp_path / f"r{ending}"))
    assert list(found.columns) == ["id", *RESULT_COLUMNS]
    assert len(found) == 0


def test_an_audit_of_typed_columns_can_be_written_in_chunks(tmp_path: Path) -> None:
    """A chunk whose rows are all well doesn't change the columns' types."""
    table = results({"n": [1, 2, 3, 4], "when": list(pd.date_range("2026-11-01", periods=4))})
    found = pd.read_parquet(write_report(audit_chunks([table.iloc[:1], table.iloc[1:]]), tmp_path / "a.parquet"))
    assert found["n"].tolist() == [2, 2, 3]
    assert found["when"].dtype.kind == "M"
    assert found["row"].tolist() == [1, 1, 2]
