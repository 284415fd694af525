"""Results: the table's own columns as they were, then one verdict per row from the journal."""

from __future__ import annotations

import datetime as dt
import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from turbobatch import Campaign, MailMerge, read_report, write_report
from turbobatch.arrow import arrow_table, remember_types, remembered_types, table_types
from turbobatch.errors import CampaignError
from turbobatch.journal import Intent, Outcome, SqliteJournal
from turbobatch.policy import Status
from turbobatch.recipients import open_table
from turbobatch.results import RESULT_COLUMNS, Results
from turbobatch.units import Layout, units

if TYPE_CHECKING:
    from pathlib import Path

MESSAGE = MailMerge(from_="shop@acme.example", to="a@example.org", subject="{{ id }}")
BEYOND = 6000  # rows: more than a chunk


def results(
    recipients: Any, journal: SqliteJournal | None = None, *, key: str | None = "id", group_by: str | None = None
) -> Results:
    table = open_table(recipients)
    layout = Layout(table.columns, (key,) if key else (), (group_by,) if group_by else ())
    return Results(table=table, layout=layout, merger=MESSAGE.bind(table.columns), journal=journal or SqliteJournal())


def sent(journal: SqliteJournal, key: str, status: Status = Status.SENT, **fields: Any) -> None:
    """Journal a POST and its outcome."""
    known: dict[str, Any] = {"key": key, "status": status, "message": "OK", "time": 2.0, "posted": True}
    journal.commit([Intent(key=key, digest="d", time=1.0)], [])
    journal.commit([], [Outcome(**(known | fields))])


# Verdicts


def test_every_row_has_the_verdict_of_its_key() -> None:
    """Sent, in doubt, noted without a POST, duplicate, invalid by its key, pending: in the table's order."""
    journal = SqliteJournal()
    sent(journal, "a", mid="7", http_status=200, seconds=0.5)
    journal.commit([Intent(key="b", digest="d", time=3.0)], [])
    noted = Outcome(key="c", status=Status.SUPPRESSED, message="row 2: x", errors=("x",), time=4.0, posted=False)
    journal.commit([], [noted])
    sent(journal, "d", Status.REJECTED, message="error", errors=("no", "never"), http_status=400)
    frame = results(pd.DataFrame({"id": ["a", "b", "c", "d", "a", None, "z"]}), journal).frame()
    assert frame["send_status"].tolist() == [
        "sent", "in_doubt", "suppressed", "rejected", "duplicate", "invalid", "pending",
    ]  # fmt: skip
    assert frame["send_errors"].tolist()[2:4] == [["x"], ["no", "never"]]
    assert frame["send_message"][4] == "row 4: same key as row 0"
    assert frame["send_message"][5] == "row 5: column 'id' is blank, and it is the key; fill the cell"
    assert frame["send_attempts"].tolist() == [1, 1, 0, 1, 0, 0, 0]
    assert frame["send_mid"].fillna("-").tolist() == ["7", "-", "-", "-", "-", "-", "-"]
    assert frame["send_http_status"].fillna(0).tolist() == [200, 0, 0, 400, 0, 0, 0]
    assert frame["send_time"][0] == pd.Timestamp(2, unit="s", tz="UTC")
    assert frame["send_key"].fillna("-").tolist() == ["a", "b", "c", "d", "a", "-", "z"]


def test_every_row_of_a_group_has_the_groups_verdict() -> None:
    """Wherever the group's rows stand, also in another chunk; a row without a group has its own."""
    journal = SqliteJournal()
    sent(journal, "a")
    ids = ["a", "b", None, "a", *["b"] * BEYOND, "a"]
    frame = results(pd.DataFrame({"id": ids}), journal, group_by="id").frame()
    of = {"a": "sent", "b": "pending", None: "invalid"}
    assert frame["send_status"].tolist() == [of[name] for name in ids]
    assert frame["send_message"][2] == "row 2: column 'id' is blank, and it is the group_by; fill the cell"


def test_results_can_be_read_again_and_tell_what_is_new() -> None:
    """Nothing is kept between two looks."""
    journal = SqliteJournal()
    found = results(pd.DataFrame({"id": ["a"]}), journal)
    assert found.frame()["send_status"].tolist() == ["pending"]
    sent(journal, "a")
    assert found.frame()["send_status"].tolist() == ["sent"]


# The table's own columns


def test_a_frames_index_and_types_stay() -> None:
    """The results have the DataFrame's index, column order and types, and the DataFrame itself doesn't change."""
    own = pd.DataFrame(
        {
            "id": ["a", "b", "c"],
            5: pd.array([1, None, 3], dtype="Int64"),
            "when": [
                pd.Timestamp("2026-11-01", tz="Europe/Rome"),
                pd.NaT,
                pd.Timestamp("2026-11-03", tz="Europe/Rome"),
            ],
            "kind": pd.Categorical(["x", None, "y"]),
            "parts": [[1], None, {"a": 1}],
        },
        index=pd.Index([10, 3, 10], name="line"),
    )
    before = own.copy()
    frame = results(own).frame()
    assert_frame_equal(frame[list(own.columns)], before)
    assert list(frame.columns) == [*own.columns, *RESULT_COLUMNS]
    assert_frame_equal(own, before)


def test_an_own_column_called_like_a_result_column_gives_way() -> None:
    """A report can be sent again: its old verdicts don't stand beside the new ones."""
    frame = results(pd.DataFrame({"send_status": ["sent"], "id": ["a"], "send_key": ["old"]})).frame()
    assert list(frame.columns) == ["id", *RESULT_COLUMNS]
    assert (frame["send_status"][0], frame["send_key"][0]) == ("pending", "a")


@pytest.mark.parametrize("ending", [".csv", ".parquet", "frame"])
def test_a_table_without_rows_has_results_without_rows(ending: str, tmp_path: Path) -> None:
    """One frame with all the columns, whatever the format."""
    path = tmp_path / f"people{ending}"
    own = pd.DataFrame({"id": pd.array([], dtype="int64"), "name": pd.array([], dtype="str")})
    if ending == ".csv":
        own.to_csv(path, index=False)
    if ending == ".parquet":
        own.to_parquet(path)
    (frame,) = results(own if ending == "frame" else path).frames()
    assert (len(frame), list(frame.columns)) == (0, ["id", "name", *RESULT_COLUMNS])
    report = write_report(frame, tmp_path / "report.parquet")
    assert str(pq.read_schema(report).field("id").type) == ("int64" if ending != ".csv" else "large_string")


# Types on the way through pandas


def _cells(kind: pa.DataType) -> list[Any]:
    """Two values of a type, the second of which pandas is likely to tell wrong alone."""
    values: dict[str, list[Any]] = {
        "bool": [True, False],
        "int8": [1, -1],
        "uint64": [2**64 - 1, 0],
        "int64": [2**63 - 1, 2**53 + 1],
        "float": [0.5, 2.0],
        "double": [0.1, 2.0],
        "string": ["007", ""],
        "large_string": ["NA", "x"],
        "binary": [b"\x00\xff", b""],
        "date32[day]": [dt.date(2026, 11, 1), dt.date(1, 1, 1)],
        "time64[us]": [dt.time(1, 2, 3, 4), dt.time(0)],
        "timestamp[s]": [dt.datetime(2026, 11, 1, 10), dt.datetime(2026, 11, 1)],  # noqa: DTZ001 - has no zone
        "timestamp[ns, tz=Europe/Rome]": [pd.Timestamp("2026-11-01 10:00:00.000000001", tz="UTC"), None],
        "duration[us]": [dt.timedelta(seconds=1), dt.timedelta(0)],
        "decimal128(12, 2)": [Decimal("12.50"), Decimal("1.00")],
        "list<item: int64>": [[1, 2], []],
        "list<item: date32[day]>": [[dt.date(2026, 11, 1)], [None]],
        "struct<a: int64, b: string>": [{"a": 1, "b": None}, {"a": None, "b": "x"}],
        "map<string, int64>": [[("a", 1)], []],
        "dictionary<values=string, indices=int32, ordered=0>": ["x", "y"],
        "null": [None, None],
    }
    return values[str(kind)]


KINDS = [
    pa.bool_(), pa.int8(), pa.uint64(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.large_string(),
    pa.binary(), pa.date32(), pa.time64("us"), pa.timestamp("s"), pa.timestamp("ns", "Europe/Rome"), pa.duration("us"),
    pa.decimal128(12, 2), pa.list_(pa.int64()), pa.list_(pa.date32()), pa.struct({"a": pa.int64(), "b": pa.string()}),
    pa.map_(pa.string(), pa.int64()), pa.dictionary(pa.int32(), pa.string()), pa.null(),
]  # fmt: skip


@pytest.mark.unmeasured
@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("first", ["a whole chunk without a value", "values"])
def test_parquet_types_go_through(kind: pa.DataType, first: str, tmp_path: Path) -> None:
    """A Parquet table's report has the table's own types and values, also where a chunk has no value to tell one."""
    blank = [None] * (BEYOND - 2)
    cells = [*blank, *_cells(kind)] if first != "values" else [*_cells(kind), *blank]
    source = pa.table({"id": pa.array(map(str, range(BEYOND))), "x": pa.array(cells, type=kind)})
    pq.write_table(source, tmp_path / "people.parquet")
    written = pq.read_schema(tmp_path / "people.parquet").field("x").type  # what the format has made of it
    campaign = Campaign(name="types", message=MESSAGE, key="id", journal=tmp_path / "types.db")
    for name, frames in (
        ("chunks", campaign.result_chunks(tmp_path / "people.parquet")),
        ("whole", campaign.results(tmp_path / "people.parquet")),
    ):
        report = pq.read_table(write_report(frames, tmp_path / f"{name}.parquet"))
        assert report.schema.field("x").type == (pa.string() if pa.types.is_null(kind) else written)
        assert report["x"].to_pylist() == source["x"].to_pylist()
        assert report["id"].to_pylist() == source["id"].to_pylist()


def test_a_report_that_is_read_can_be_written_again(tmp_path: Path) -> None:
    """Integers with gaps, lists and times survive any number of rounds."""
    source = pa.table({"id": ["a", "b"], "n": pa.array([2**60 + 1, None]), "l": [[1], None]})
    pq.write_table(source, tmp_path / "people.parquet")
    campaign = Campaign(name="rounds", message=MESSAGE, key="id", journal=tmp_path / "rounds.db")
    once = write_report(campaign.results(tmp_path / "people.parquet"), tmp_path / "one.parquet")
    twice = write_report(read_report(once), tmp_path / "two.parquet")
    assert pq.read_table(once).equals(pq.read_table(twice))


def test_a_column_of_mixed_types_is_text_from_its_first_chunk_on(tmp_path: Path) -> None:
    """Numbers in the first thousands of rows and words after them: all of it is text in Parquet, as it was in CSV."""
    lines = [json.dumps({"id": str(n), "x": n if n < BEYOND - 1 else "end"}) for n in range(BEYOND)]
    (tmp_path / "people.jsonl").write_text("\n".join(lines), encoding="utf-8")
    campaign = Campaign(name="mixed", message=MESSAGE, key="id", journal=tmp_path / "mixed.db")
    write_report(campaign.result_chunks(tmp_path / "people.jsonl"), tmp_path / "report.parquet")
    column = pq.read_table(tmp_path / "report.parquet")["x"]
    assert column.type == pa.string()
    assert column.to_pylist()[-2:] == [str(BEYOND - 2), "end"]


def test_types_are_carried_along_and_can_be_lost(tmp_path: Path) -> None:
    """A frame keeps its source's types through pandas' operations; a column that was changed has its new type."""
    source = pa.table({"id": ["a", "b"], "d": pa.array([Decimal("1.50"), None], pa.decimal128(12, 2)), "n": [1, 2]})
    pq.write_table(source, tmp_path / "people.parquet")
    frame = results(tmp_path / "people.parquet").frame()
    assert remembered_types(frame[frame["send_status"] == "sent"]) == {
        "id": pa.string(),
        "d": pa.decimal128(12, 2),
        "n": pa.int64(),
    }
    changed = frame.assign(d=["a", "b"], n=[1.5, 2.5])
    assert arrow_table(changed, remembered_types(changed)).schema.field("n").type == pa.float64()
    assert "string" in str(arrow_table(changed, remembered_types(changed)).schema.field("d").type)
    frame.to_parquet(tmp_path / "by-pandas.parquet")  # which writes a frame's attributes as JSON
    assert remembered_types(pd.DataFrame()) == {}


def test_only_a_column_that_could_be_anything_is_looked_at() -> None:
    """A table in memory tells its types by itself, but for columns of objects."""
    own = pd.DataFrame({"n": [1], "o": pd.Series([Decimal("1.5")], dtype=object)})
    assert table_types(open_table(own)).names == ["o"]
    assert remembered_types(remember_types(own, pa.schema([]))) == {}


def test_a_schema_is_kept_or_refused() -> None:
    """A chunk that doesn't fit the types of the first is one line."""
    with pytest.raises(CampaignError, match=r"column 'x' holds .* beside int64: write a \.csv report"):
        arrow_table(pd.DataFrame({"x": ["a"]}), {}, pa.schema([("x", pa.int64())]))


# A table that changes between two readings


@pytest.mark.parametrize("group_by", [None, "id"])
def test_a_file_saved_between_two_chunks_ends_in_one_line(tmp_path: Path, group_by: str | None) -> None:
    """Never in a result that is short, or of two versions."""
    path = tmp_path / "people.csv"
    path.write_text("id\n" + "".join(f"{number}\n" for number in range(BEYOND)))
    frames = results(path, group_by=group_by).frames()
    assert len(next(frames)) == 5000
    path.write_text("id\n" + "".join(f"{number}\n" for number in range(BEYOND + 1)))
    with pytest.raises(CampaignError, match=r"people\.csv was changed while it was in use"):
        next(frames)


def test_a_group_that_comes_between_two_readings_is_told() -> None:
    """Behind pandas' back: what is written into a column's array reaches every copy that shares it."""
    table = pd.DataFrame({"id": [*range(BEYOND - 1), 0]})
    frames = results(table, group_by="id").frames()
    next(frames)
    table["id"].array[BEYOND - 1] = BEYOND + 7
    with pytest.raises(CampaignError, match="the DataFrame was changed while it was in use"):
        next(frames)


@pytest.mark.parametrize("to", [BEYOND + 7, 1])
def test_groups_that_change_while_they_are_walked_are_told(to: int) -> None:
    """Between the reading that finds each group's end and the one that collects its rows: none is left out."""
    table = open_table(pd.DataFrame({"id": range(BEYOND)}))
    walk = units(table, Layout(("id",), ("id",), ("id",)))
    next(walk)
    table.data["id"].array[BEYOND - 1] = to  # type: ignore[attr-defined]  # a DataFrame's column
    with pytest.raises(CampaignError, match="the DataFrame was changed while it was in use"):
        list(walk)
