"""Audits read as recipients: each row of the table that was sent once, with what was corrected in any of its lines."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.arrow import remember_types
from turbobatch.audit import audit
from turbobatch.errors import CampaignError
from turbobatch.failures import FailedAddress
from turbobatch.policy import Status
from turbobatch.recipients import open_table
from turbobatch.recipients.audited import AUDIT_COLUMNS, AuditedTable, is_audit, read_audit
from turbobatch.report import write_report
from turbobatch.results import RowVerdict, joined

if TYPE_CHECKING:
    from pathlib import Path

PEOPLE = {
    "id": ["001", "002", "003", "004", "005"],
    "email": ["ana@x.example", "bo@@x.example", "cy@@x.example", "di@x.example", "ed@x.example, flo@@x.example"],
    "copy": ["", "", "hal@@x.example", "", "ida@@x.example"],
    "status": ["gold", "silver", "gold", "", "tin"],
    "row": ["A", "B", "C", "D", "E"],
}
ERRORS = [
    (Status.SENT, ()),
    (Status.INVALID, ("'bo@@x.example' 'to' email not valid",)),
    (Status.REJECTED, ("'cy@@x.example' recipient email not valid", "'hal@@x.example' cc email not valid")),
    (Status.DUPLICATE, ()),
    (Status.INVALID, ("'flo@@x.example' 'to' email not valid", "'ida@@x.example' 'cc' email not valid")),
]


def audited(**columns: Any) -> pd.DataFrame:
    """The audit of a table whose second, third and last rows have bad addresses, two of them two each."""
    verdicts = [
        RowVerdict(status, "m", errors, send_key=key)
        for (status, errors), key in zip(ERRORS, PEOPLE["id"], strict=True)
    ]
    return pd.DataFrame(audit(joined(pd.DataFrame(PEOPLE | columns), verdicts)))


def read(frame: pd.DataFrame | Path) -> AuditedTable:
    """What comes back."""
    table = open_table(frame)
    assert is_audit(table)
    return read_audit(table)


def corrected(frame: pd.DataFrame, line: int, **cells: Any) -> pd.DataFrame:
    """The audit with other cells in one of its lines."""
    frame = frame.copy()
    for name, cell in cells.items():
        frame.loc[line, name] = cell
    return frame


def rows(table: AuditedTable) -> list[tuple[Any, ...]]:
    return [values for chunk in table.chunks(2) for values in chunk.rows()]


def error(frame: pd.DataFrame | Path) -> str:
    with pytest.raises(CampaignError) as raised:
        read(frame)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_the_columns_are_an_audits() -> None:
    """What audits write is what is read."""
    assert FailedAddress._fields == AUDIT_COLUMNS


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".xlsx", ".parquet", None])
def test_an_audit_comes_back_as_the_table_that_was_sent(ending: str | None, tmp_path: Path) -> None:
    """Its columns by their own names, also those that are called like the audit's; rows once, in the table's order."""
    frame = audited().sort_values(["category", "address"])
    table = read(frame if ending is None else write_report(frame, tmp_path / f"failed{ending}"))
    assert table.columns == ("id", "email", "copy", "status", "row")
    assert rows(table) == [
        ("002", "bo@@x.example", None, "silver", "B"),
        ("003", "cy@@x.example", "hal@@x.example", "gold", "C"),
        ("005", "ed@x.example, flo@@x.example", "ida@@x.example", "tin", "E"),
    ]
    assert list(table.keys) == ["002", "003", "005"]
    assert table.about == 3
    frames = pd.concat([chunk.frame() for chunk in table.chunks(2)])
    assert frames.fillna("").to_numpy().tolist() == [[cell or "" for cell in row] for row in rows(table)]
    assert table.warnings == (f"{table.name}: 1 row with the key of an earlier row left out",)


def test_lines_are_those_of_the_file(tmp_path: Path) -> None:
    """So that what is still wrong can be found in it."""
    path = write_report(audited(), tmp_path / "failed.csv")
    table = read(path)
    chunk = next(table.chunks())
    assert [table.where(row, chunk.line(row)) for row in range(3)] == [
        "row 0 (line 2 of failed.csv)",
        "row 1 (line 3 of failed.csv)",
        "row 2 (line 6 of failed.csv)",
    ]


def test_what_was_corrected_in_any_line_of_a_row_counts() -> None:
    """Each address is corrected where it is listed; the other line's copy of the row still has the old one."""
    frame = corrected(audited(), 1, email="cy@x.example")
    frame = corrected(frame, 2, copy="hal@x.example")
    assert rows(read(frame))[1] == ("003", "cy@x.example", "hal@x.example", "gold", "C")
    assert rows(read(frame.iloc[::-1]))[1] == ("003", "cy@x.example", "hal@x.example", "gold", "C")
    both = corrected(corrected(frame, 1, copy="hal@x.example"), 2, email="cy@x.example")
    assert rows(read(both)) == rows(read(frame))


def test_a_list_that_is_corrected_a_little_more_counts() -> None:
    """What holds less of what failed wins; what was right in the list stays."""
    frame = corrected(audited(), 4, email="ed@x.example, flo@x.example")
    assert rows(read(frame))[2][1] == "ed@x.example, flo@x.example"


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (
            ({"email": "c@x.example"}, {"email": "d@x.example"}),
            "column 'email' differs in them: write the same in both",
        ),
        (({"id": "3"}, {}), "column 'id' differs in them: write the same in both"),
        (({"copy": ""}, {"copy": "e@x.example"}), "column 'copy' differs in them: write the same in both"),
    ],
)
def test_two_corrections_of_one_cell_are_refused(
    cells: tuple[dict[str, str], dict[str, str]], message: str, tmp_path: Path
) -> None:
    """One line names both lines and the column."""
    frame = corrected(corrected(audited(), 1, **cells[0]), 2, **cells[1])
    said = error(write_report(frame, tmp_path / "failed.csv"))
    assert (
        said == f"row 1 (line 3 of failed.csv) and row 2 (line 4 of failed.csv) are about the same row, and {message}"
    )
    assert error(frame).startswith("row 1 and row 2 are about")


def test_a_blank_that_was_filled_in_one_line_counts() -> None:
    """Where the row failed for it."""
    verdict = RowVerdict(Status.INVALID, "m", ("missing recipients (to)", "attachment 'a.pdf' not found"), send_key="1")
    own = pd.DataFrame({"id": ["1"], "email": [None], "file": ["a.pdf"]})
    frame = pd.DataFrame(audit(joined(own, [verdict])))
    frame = corrected(corrected(frame, 0, email="ana@x.example"), 1, file="b.pdf")
    assert rows(read(frame)) == [("1", "ana@x.example", "b.pdf")]


CELLS = st.text("ab@.,'<> =-;", max_size=6) | st.sampled_from(["ana@@x.example", "is blank", "row.row", "0001"])
NAMES = st.sampled_from(
    ["email", "address", "field", "status", "reason", "suggestion", "row", "row.row", "row.x", "First Name"]
)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.tuples(
        st.lists(NAMES, min_size=width, max_size=width, unique=True),
        st.lists(
            st.tuples(
                st.lists(CELLS, min_size=width, max_size=width),
                st.sampled_from([*Status]),
                st.lists(st.builds("'{}' 'to' email not valid".format, CELLS) | CELLS, max_size=3),
            ),
            max_size=6,
        ),
    )
)


@pytest.mark.unmeasured
@given(TABLES, st.randoms(use_true_random=False))
def test_an_audit_in_which_nothing_was_corrected_comes_back_as_it_was(
    table: tuple[list[str], list[tuple[list[str], Status, list[str]]]], dice: Any
) -> None:
    """Whatever is in its cells and errors, and however it was sorted."""
    names, sent = table
    told = [(status, tuple(errors)) for _, status, errors in sent]
    verdicts = [RowVerdict(status, "m", errors, send_key=str(row)) for row, (status, errors) in enumerate(told)]
    own = pd.DataFrame([cells for cells, _, _ in sent], columns=names, dtype=str)
    frame = pd.DataFrame(audit(joined(own, verdicts)))
    order = list(range(len(frame)))
    dice.shuffle(order)
    found = read(frame.iloc[order])
    kept = [row for row, (_, status, _) in enumerate(sent) if status not in ("sent", "pending", "duplicate")]
    assert found.columns == tuple(names)
    assert rows(found) == [tuple(cell or None for cell in sent[row][0]) for row in kept]
    assert list(found.keys) == [str(row) for row in kept]


# Corrections in the audit's own column


def test_an_address_that_was_corrected_in_the_audits_own_column_is_understood() -> None:
    """Where one cell holds the old one, which the reason quotes; also in a list and beside a name, and in two lines."""
    frame = corrected(corrected(audited(), 0, address="bo@x.example"), 4, address="flo@x.example")
    frame = corrected(corrected(frame, 1, address="cy@x.example"), 2, address="hal@x.example")
    found = rows(read(frame))
    assert [row[1:3] for row in found] == [
        ("bo@x.example", None),
        ("cy@x.example", "hal@x.example"),
        ("ed@x.example, flo@x.example", "ida@@x.example"),
    ]
    verdict = RowVerdict(Status.INVALID, "m", ("'Ana <ana@@x.example>' 'to' email not valid",), send_key="1")
    own = pd.DataFrame({"id": ["1"], "email": ["Ana <ana@@x.example>"]})
    named = corrected(pd.DataFrame(audit(joined(own, [verdict]))), 0, address="ana@x.example")
    assert rows(read(named)) == [("1", "Ana <ana@x.example>")]


def test_an_address_that_was_corrected_in_both_places_is_taken_once() -> None:
    """The table's own column has it already."""
    frame = corrected(audited(), 0, address="bo@x.example", email="bo@x.example")
    assert rows(read(frame))[0][1] == "bo@x.example"


@pytest.mark.parametrize(
    ("own", "changes", "cure"),
    [
        ({}, {"email": "b@x.example"}, "correct the table's own column"),
        ({"copy": ["", "bo@@x.example", "hal@@x.example", "", ""]}, {}, "correct 'email' or 'copy'"),
        ({"email": ["", "b o", "cy@@x.example", "", ""]}, {}, "correct the table's own column"),
    ],
)
def test_an_address_that_leads_to_no_cell_is_refused(
    own: dict[str, list[str]], changes: dict[str, str], cure: str
) -> None:
    """Two cells hold the old one, or none, or another correction: people say which."""
    said = error(corrected(audited(**own), 0, address="bo@x.example", **changes))
    assert said == f"row 0: column 'address' was changed, which belongs to the audit: {cure} instead"


def test_an_address_that_was_taken_out_changes_nothing() -> None:
    assert rows(read(corrected(audited(), 0, address=None))) == rows(read(audited()))


def test_columns_under_another_name_keep_their_types(tmp_path: Path) -> None:
    """A column without a value in the rows that failed tells no type by itself."""
    frame = joined(
        pd.DataFrame({"row": [dt.date(2026, 11, 1), None]}), [RowVerdict(Status.SENT), RowVerdict(Status.FAILED)]
    )
    written = write_report(audit(remember_types(frame, pa.schema([("row", pa.date32())]))), tmp_path / "failed.parquet")
    schema = pq.read_schema(written)
    assert (schema.field("row").type, schema.field("row.row").type) == (pa.int64(), pa.date32())


# Files that aren't as they were


def test_an_audit_that_lost_a_column_is_no_plain_table() -> None:
    """Its rows would count twice; other tables may have some columns of these names."""
    for names in (
        *([name] for name in AUDIT_COLUMNS),
        ["category", "suggestion"],
        ["suggestion", "send_key"],
        ["address", "field", "status"],
        ["category", "suggestion", "row"],
        ["address", "field", "status", "reason", "row"],
    ):
        with pytest.raises(
            CampaignError, match=f"an audit that has lost its column '{names[0]}': put it back, or write it"
        ):
            is_audit(open_table(audited().drop(columns=names)))
    assert is_audit(open_table(audited().iloc[:, ::-1]))
    for others in (
        ["address", "status", "reason", "category", "row"],
        ["send_key", "status", "reason", "row"],
        ["send_key"],
    ):
        assert not is_audit(open_table(pd.DataFrame({"id": ["1"]} | dict.fromkeys(others, "a"))))
    assert error(audited().iloc[:, :8]).startswith("the DataFrame has an audit's columns alone")


@pytest.mark.parametrize("cell", [None, "", "x", "1.5", "-1", "nan", "inf"])
def test_a_line_of_no_row_is_refused(cell: str | None) -> None:
    """A recipient that was added to an audit would have nobody's key."""
    frame = corrected(audited().astype({"row": object}), 1, row=cell)
    assert error(frame).startswith("row 1: column 'row' has no number of a row of the table that was sent: put it back")


def test_an_audit_without_lines_is_a_table_without_rows(tmp_path: Path) -> None:
    table = read(write_report(audited().iloc[:0], tmp_path / "failed.csv"))
    assert (table.about, rows(table), table.columns) == (0, [], ("id", "email", "copy", "status", "row"))
    assert list(table.data.columns) == list(table.columns)


def test_cells_come_back_from_excel_as_they_were(tmp_path: Path) -> None:
    """What was made safe for Excel is undone; what Excel had to cut is refused."""
    own = {"copy": ["", "=1+1", "@home", "", "-x"], "status": ["", "'quoted", "+39 055", "", "x"]}
    table = read(write_report(audited(**own), tmp_path / "failed.xlsx"))
    assert [row[2:4] for row in rows(table)] == [("=1+1", "'quoted"), ("@home", "+39 055"), ("-x", "x")]
    long = {"copy": ["", "x" * 40_000, "", "", ""]}
    assert "a cell is too long for Excel and was cut: write the audit as .csv" in error(
        write_report(audited(**long), tmp_path / "long.xlsx")
    )


@pytest.mark.parametrize("ending", [".parquet", ".xlsx", None])
def test_typed_columns_stay_typed(ending: str | None, tmp_path: Path) -> None:
    """Numbers and, but for Excel, dates."""
    when = dt.datetime(2026, 11, 1, 12, 30)  # noqa: DTZ001 - as tables have them
    own = {"id": [1, 2, 3, 4, 5], "copy": [None, 7, 8, None, 9], "status": [when] * 5, "row": [0.5, 1.5, 2.5, 3.5, 4.5]}
    frame = corrected(audited(**own), 0, email="bo@x.example")
    table = read(frame if ending is None else write_report(frame, tmp_path / f"failed{ending}"))
    day = str(when) if ending == ".xlsx" else when
    assert rows(table)[0] == (2, "bo@x.example", 7, day, 1.5)
    kinds = table.data.dtypes
    assert [kinds[name].kind for name in ("id", "row")] == ["i", "f"]
    assert (kinds["status"].kind == "M") == (ending != ".xlsx")


def test_a_file_that_changes_while_it_is_in_use_is_refused(tmp_path: Path) -> None:
    """What was counted is what is sent."""
    path = write_report(audited(), tmp_path / "failed.csv")
    table = read(path)
    path.write_text(path.read_text("utf-8").replace("silver", "copper"), "utf-8")
    with pytest.raises(CampaignError, match=r"failed\.csv was changed while it was in use"):
        next(table.chunks())
