"""Tables in parts: a folder of files is one table, and so is a Dask DataFrame, or one line says what is wrong where."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from turbobatch.arrow import table_types
from turbobatch.campaign import Campaign
from turbobatch.errors import CampaignError
from turbobatch.recipients import Table, is_text, open_table
from turbobatch.run import Asked

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Write = Callable[[pd.DataFrame, Path], None]


def to_csv(frame: pd.DataFrame, path: Path) -> None:
    frame.to_csv(path.with_suffix(".csv"), index=False)


def to_parquet(frame: pd.DataFrame, path: Path) -> None:
    frame.to_parquet(path.with_suffix(".parquet"), index=False)


WRITERS = {"csv": to_csv, "parquet": to_parquet}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder."""
    made = tmp_path / "orders"
    made.mkdir()
    return made


def frame_of(*numbers: int) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"{number:03}" for number in numbers], "n": list(numbers)})


def parts(folder: Path, *frames: pd.DataFrame, write: Write = to_parquet) -> Path:
    """Write frames as parts, the last one with a number of two digits."""
    for number, frame in enumerate(frames):
        write(frame, folder / f"part-{number if number < len(frames) - 1 else 10}")
    return folder


def arrow_parts(folder: Path, *columns: pa.Array) -> Path:
    """Write parts of one column each, in exactly these types."""
    for number, column in enumerate(columns):
        pq.write_table(pa.table({"x": column}), folder / f"part-{number}.parquet")
    return folder


def all_rows(table: Table, size: int = 5000) -> list[tuple[Any, ...]]:
    return [row for chunk in table.chunks(size) for row in chunk.rows()]


def whole_frame(table: Table, size: int = 5000) -> pd.DataFrame:
    return pd.concat([chunk.frame() for chunk in table.chunks(size)])


def places(table: Table, size: int = 5000) -> list[str]:
    return [
        table.where(chunk.start + index, chunk.line(index))
        for chunk in table.chunks(size)
        for index in range(len(chunk))
    ]


def fault(recipients: Any) -> str:
    """Return the one line that reading a table to its end raises."""
    with pytest.raises(CampaignError) as caught:
        all_rows(open_table(recipients))
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


# A folder is one table


@pytest.mark.parametrize("kind", WRITERS)
def test_a_folder_is_the_table_of_its_files_in_the_order_of_their_numbers(kind: str, folder: Path) -> None:
    """part-2 comes before part-10, and the rows count through."""
    for number in (10, 1, 2):
        WRITERS[kind](frame_of(*range(number, number + 3)), folder / f"part-{number}")
    table = open_table(folder)
    assert isinstance(table, Table)
    assert (table.name, table.columns, table.about, table.warnings) == ("orders", ("id", "n"), 9, ())
    assert [row[0] for row in all_rows(table)] == ["001", "002", "003", "002", "003", "004", "010", "011", "012"]
    assert all_rows(table, 2) == all_rows(table, 1) == all_rows(table)
    for size in (1, 2, 5000):
        assert [chunk.start + index for chunk in table.chunks(size) for index in range(len(chunk))] == list(range(9))
    assert whole_frame(table, 2).index.tolist() == list(range(9))
    assert is_text(table) is (kind == "csv")


def test_a_place_names_the_file_and_the_line_in_it(folder: Path) -> None:
    """Of text the line, of Parquet the row of the file."""
    parts(folder, frame_of(1, 2), frame_of(), frame_of(3), write=to_csv)
    (folder / "part-10.csv").write_text('id,n\n\n"a\nb",1\nc,2\n')
    table = open_table(folder)
    assert table.where(2, 3) == "row 2"  # nobody has read so far
    wheres = [
        "row 0 (line 2 of part-0.csv)",
        "row 1 (line 3 of part-0.csv)",
        "row 2 (line 3 of part-10.csv)",
        "row 3 (line 5 of part-10.csv)",
    ]
    assert places(table) == places(table, 1) == wheres
    shutil.rmtree(folder)
    folder.mkdir()
    parts(folder, frame_of(1, 2), frame_of(), frame_of(3))
    wheres = ["row 0 (row 0 of part-0.parquet)", "row 1 (row 1 of part-0.parquet)", "row 2 (row 0 of part-10.parquet)"]
    assert places(open_table(folder)) == wheres


def test_what_hides_or_begins_with_an_underscore_is_no_part(folder: Path) -> None:
    """Others leave notes beside their parts."""
    parts(folder, frame_of(1), frame_of(2))
    for name in ("_SUCCESS", "_metadata", "_common_metadata", ".part-0.parquet.crc", ".DS_Store"):
        (folder / name).write_bytes(b"note")
    (folder / "_delta").mkdir()
    table = open_table(folder)
    assert len(all_rows(table)) == 2
    (folder / "_SUCCESS").unlink()
    assert len(all_rows(table)) == 2  # and no change of the table


def test_a_fault_further_down_names_file_and_row(folder: Path) -> None:
    """As the table counts its rows."""
    parts(folder, frame_of(1, 2), frame_of(3), write=to_csv)
    (folder / "part-10.csv").write_text("id,n\n1,2\n1,2,3\n")
    assert fault(folder).startswith("row 3 (line 3 of part-10.csv) has 3 cells, but the header has 2")


def test_each_text_has_its_own_encoding_and_delimiter(folder: Path) -> None:
    """Some programs write UTF-8 only where they must; what is a guess is told for each file."""
    (folder / "1.csv").write_bytes("id,name\n1,Zoë\n".encode())
    (folder / "2.csv").write_bytes("id;name\n2;Zoë\n".encode("cp1252"))
    table = open_table(folder)
    assert all_rows(table) == [("1", "Zoë"), ("2", "Zoë")]
    assert [warning.partition(" ")[0] for warning in table.warnings] == ["2.csv"]


# Columns and types


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (["id"], "part-10.{} has no column 'n', which part-0.{} has"),
        (["id", "n", "more"], "part-10.{} has a column 'more', which part-0.{} hasn't"),
        (["n", "id"], "part-10.{} has column 'n' where part-0.{} has 'id'"),
    ],
)
def test_other_columns_are_refused(kind: str, columns: list[str], said: str, folder: Path) -> None:
    """With both files and the column."""
    parts(folder, frame_of(1), frame_of(2).assign(more=1)[columns], write=WRITERS[kind])
    assert fault(folder) == f"{said.format(kind, kind)}: give all parts the same columns in the same order"


@pytest.mark.parametrize(
    ("one", "other"),
    [(pa.int64(), pa.float64()), (pa.int64(), pa.string()), (pa.string(), pa.float64()), (pa.int64(), pa.int32())],
)
def test_other_types_are_refused(one: pa.DataType, other: pa.DataType, folder: Path) -> None:
    """An email that reads 7 must not read 7.0 because of the part that its row is in."""
    arrow_parts(folder, pa.array([None]), pa.array([1]).cast(one), pa.array([2]).cast(other))
    said = f"part-2.parquet: column 'x' holds {other}, but {one} in part-1.parquet: write all parts with the same types"
    assert fault(folder) == said


def test_a_column_with_gaps_in_one_part_has_one_type_in_all(folder: Path) -> None:
    """Integers stay integers, in every chunk the same ones."""
    nothing = [
        pa.array([None]),
        pa.array([None], pa.float64()),
        pa.array([None], pa.string()),
        pa.array([], pa.bool_()),
    ]
    arrow_parts(folder, *nothing, pa.array([1, 2]), pa.array([3, None]), *nothing)
    table = open_table(folder)
    assert [row[0] for row in all_rows(table, 1)] == [None, None, None, 1, 2, 3, None, None, None, None]
    assert {str(chunk.frame()["x"].dtype) for chunk in table.chunks(2)} == {"Int64"}
    assert table_types(table) == pa.schema([("x", pa.int64())])


@pytest.mark.parametrize(("last", "expected"), [(4.0, 4), (4.5, 4.5)])
def test_floats_are_integers_with_gaps_by_all_parts_together(last: float, expected: float, folder: Path) -> None:
    """pandas writes such integers as floats, and only the part with the gap shows it."""
    arrow_parts(folder, pa.array([1.0, 2.0]), pa.array([3.0, None]), pa.array([last]))
    cells = [row[0] for row in all_rows(open_table(folder))]
    assert cells == [1, 2, 3, None, expected]
    assert {type(cell) for cell in cells if cell is not None} == {type(expected)}


def test_floats_without_gaps_stay_floats(folder: Path) -> None:
    """As in one file."""
    arrow_parts(folder, pa.array([1.0]), pa.array([2.0]))
    assert [type(row[0]) for row in all_rows(open_table(folder))] == [float, float]


def test_types_that_say_the_same_are_united(folder: Path) -> None:
    """Texts of several versions of pandas, categories of several sizes, lists that are empty in one part."""
    small = pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), pa.array(["a"]))
    large = pa.DictionaryArray.from_arrays(pa.array([1], pa.int32()), pa.array(["a", "b"], pa.large_string()))
    for number, columns in enumerate(
        (
            {"t": pa.array(["x"]), "c": small, "l": pa.array([[]], pa.list_(pa.null()))},
            {"t": pa.array(["y"], pa.large_string()), "c": large, "l": pa.array([["z"]])},
        )
    ):
        pq.write_table(pa.table(columns), folder / f"{number}.parquet")
    table = open_table(folder)
    assert all_rows(table) == [("x", "a", []), ("y", "b", ["z"])]
    assert len({tuple(map(str, chunk.frame().dtypes)) for chunk in table.chunks()}) == 1


def test_lists_that_are_empty_are_no_gaps(folder: Path) -> None:
    """They have a type all the same."""
    arrow_parts(folder, pa.array([[], []], pa.list_(pa.string())), pa.array([1]))
    assert "column 'x' holds int64, but list<" in fault(folder)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, about what Dask does
def test_an_index_that_pandas_or_dask_stored_is_no_column(folder: Path) -> None:
    """It is the frames' index, where all parts have it."""
    frame = frame_of(1, 2, 3, 4).set_index(pd.Index([7, 5, 3, 1]))
    dd.from_pandas(frame, npartitions=2, sort=False).to_parquet(folder)
    table = open_table(folder)
    assert table.columns == ("id", "n")
    assert whole_frame(table).index.tolist() == [7, 5, 3, 1]
    frame_of(5).to_parquet(folder / "part.9.parquet")
    assert whole_frame(open_table(folder)).index.tolist() == [0, 1, 2, 3, 4]


# What a folder must not hold


def test_a_folder_that_is_no_table_is_one_line(folder: Path) -> None:
    """Nothing in it is left out in silence: a part that isn't read would be recipients that get nothing."""
    assert "orders is a folder: name the file in it, or a folder of .parquet or .csv parts; this one has none" in fault(
        folder
    )
    parts(folder, frame_of(1), frame_of(2))
    faults = {"part-2.parquet.gz": "part-2.parquet.gz is none", "note.xlsx": "note.xlsx is none"}
    for name, said in faults.items():
        (folder / name).write_bytes(b"x")
        assert said in fault(folder)
        (folder / name).unlink()
    (folder / "part-3.csv").write_text("id,n\n")
    assert fault(folder).endswith(
        "orders holds part-0.parquet and part-3.csv: the parts of a table must have one format"
    )
    (folder / "part-3.csv").unlink()
    (folder / "more").mkdir()
    assert "must all lie side by side, and more is a folder too" in fault(folder)


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, about what Dask does
def test_a_dataset_divided_by_columns_has_a_cure(folder: Path) -> None:
    """Its line names it: Dask reads the folders' names as categories, whose values templates and results see."""
    frame = frame_of(*range(6)).assign(day=[2, 2, 2, 10, 10, 10], shop=["a", "b c", "b c"] * 2)
    frame.to_parquet(folder, partition_cols=["day", "shop"], index=False)
    assert fault(folder).endswith(
        "orders is a folder divided by a column (day=2): name one file, or, if that is Parquet, give "
        "dask.dataframe.read_parquet(folder) in Python"
    )
    read = dd.read_parquet(folder)
    assert isinstance(read.dtypes["day"], pd.CategoricalDtype)
    table = open_table(read)
    assert table.columns == ("id", "n", "day", "shop")
    assert sorted(all_rows(table)) == list(frame.itertuples(index=False, name=None))


def test_a_part_that_is_broken_is_named(folder: Path) -> None:
    """As a file of its own would be."""
    parts(folder, frame_of(1), frame_of(2))
    (folder / "part-10.parquet").write_bytes(b"nothing of the kind")
    assert fault(folder).startswith("part-10.parquet can't be read as Parquet")


# One version of all parts


CHANGES: dict[str, Callable[[Path], object]] = {
    "replaced": lambda folder: to_parquet(frame_of(3, 4), folder / "part-10"),
    "touched": lambda folder: os.utime(folder / "part-10.parquet", (1, 1)),
    "added": lambda folder: to_parquet(frame_of(3), folder / "part-11"),
    "removed": lambda folder: (folder / "part-10.parquet").unlink(),
    "renamed": lambda folder: (folder / "part-10.parquet").rename(folder / "part-9.parquet"),
    "gone": shutil.rmtree,
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_the_parts_is_noticed(change: str, folder: Path) -> None:
    """Before anything is read, in the midst, and after a run."""
    table = open_table(parts(folder, frame_of(1), frame_of(2)))
    assert table.version is not None
    assert table.version.is_current()
    assert table.version.change() is None
    chunks = table.chunks()
    next(chunks)
    CHANGES[change](folder)
    with pytest.raises(CampaignError, match=r"(orders|part-[01]+\.parquet) was changed while it was in use"):
        list(chunks)
    with pytest.raises(CampaignError, match="was changed while it was in use"):
        all_rows(table)
    assert not table.version.is_current()
    assert "was changed since a run read it" in str(table.version.change())


# Campaigns


def campaign(tmp_path: Path) -> Campaign:
    text = 'name = "parts"\n[recipients]\npath = "orders"\nkey = "id"\n[message]\nfrom = "a@acme.example"\n'
    (tmp_path / "campaign.toml").write_text(text + 'to = "{{ id }}@example.org"\nsubject = "S"\ntext = "letter.txt"\n')
    (tmp_path / "letter.txt").write_text("Hi")
    return Campaign.load(tmp_path)


def test_a_campaign_reads_a_folder_and_keeps_it(folder: Path, tmp_path: Path) -> None:
    """campaign.toml may name one; whatever would be written into it is the campaign's own."""
    parts(folder, frame_of(1), frame_of(2), write=to_csv)
    loaded = campaign(tmp_path)
    assert loaded.source().table.name == "orders"
    assert loaded.plan().rows == 2
    (tmp_path / "link.csv").symlink_to(folder / "part-0.csv")
    (tmp_path / "hard.csv").hardlink_to(folder / "part-0.csv")
    own = [folder, folder / "part-0.csv", folder / "new.csv", tmp_path / "link.csv", tmp_path / "hard.csv"]
    assert [loaded.reads(path) for path in own] == [True] * 5
    assert not loaded.reads(tmp_path / "report.csv")


# Dask DataFrames


def lazy(frame: pd.DataFrame, partitions: int = 3) -> Any:
    return dd.from_pandas(frame, npartitions=partitions, sort=False)


def test_a_dask_frame_is_the_table_of_its_partitions() -> None:
    """The same rows as the DataFrame has, counted through."""
    frame = frame_of(*range(10)).assign(x=[1.0, np.nan] * 5, when=pd.Timestamp("2026-11-23"), ok=True)
    table = open_table(lazy(frame))
    assert isinstance(table, Table)
    assert (table.name, table.columns, table.about) == ("the Dask DataFrame", tuple(frame.columns), None)
    assert all_rows(table) == all_rows(table, 2) == all_rows(open_table(frame))
    assert places(table, 3) == [f"row {row}" for row in range(10)]
    assert_frame_equal(whole_frame(table), lazy(frame).compute())


def test_partitions_are_computed_one_after_the_other() -> None:
    """When their rows are wanted, so that no more than one is held."""
    seen: list[str] = []

    def note(frame: pd.DataFrame) -> pd.DataFrame:
        seen.extend(frame["id"].tolist()[:1])
        return frame

    table = open_table(lazy(frame_of(*range(9))).map_partitions(note, meta=lazy(frame_of(0)).dtypes.to_dict()))
    seen.clear()
    chunks = table.chunks()
    assert seen == []
    next(chunks)
    assert seen == ["000"]
    next(chunks)
    assert seen == ["000", "003"]


def test_integers_with_gaps_are_told_by_all_partitions() -> None:
    """A partition without a gap writes no 7.0 where another one writes 7."""
    frame = pd.DataFrame({"n": [1.0, 2.0, 3.0, None], "x": [1.0, 2.5, 3.0, None], "y": [1.0, 2.0, 3.0, 4.0]})
    rows = all_rows(open_table(lazy(frame, 2)))
    assert repr(rows) == "[(1, 1.0, 1.0), (2, 2.5, 2.0), (3, 3.0, 3.0), (None, None, 4.0)]"


def changed(partition: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame) -> Any:
    """A Dask DataFrame whose second partition isn't what it promises."""

    def change(part: pd.DataFrame) -> pd.DataFrame:
        return partition(part) if part["id"].iloc[0] == "002" else part

    made = lazy(frame, 2)
    return made.map_partitions(change, meta=made.dtypes.to_dict(), enforce_metadata=False)


def test_a_partition_of_other_types_is_cast_or_refused() -> None:
    """Nothing is rounded, and no column is text in one chunk and a number in another."""
    frame = frame_of(0, 1, 2, 3)
    cast = open_table(
        changed(lambda part: part.assign(n=part["n"].astype("int8"), id=part["id"].astype(object)), frame)
    )
    assert all_rows(cast) == all_rows(open_table(frame))
    assert len({tuple(map(str, chunk.frame().dtypes)) for chunk in cast.chunks()}) == 1
    said = fault(changed(lambda part: part.assign(n=part["n"] + 0.5), frame))
    assert said.startswith("partition 1 of the Dask DataFrame: column 'n' holds float64, but the whole promises int64")
    said = fault(changed(lambda part: part.assign(n="x"), frame))
    assert "column 'n' holds" in said
    said = fault(changed(lambda part: part.rename(columns={"n": "m"}), frame))
    assert said == "partition 1 of the Dask DataFrame has other columns than the whole: id, m"


def test_what_fails_in_a_partition_is_one_line() -> None:
    """With the partition's number and the exception."""

    def fail(part: pd.DataFrame) -> pd.DataFrame:
        raise KeyError(f"nothing\nfor {len(part)} rows")

    said = fault(changed(fail, frame_of(0, 1, 2, 3)))
    assert said.startswith("partition 1 of the Dask DataFrame can't be computed: KeyError: ")


def test_columns_of_objects_are_written_as_text_in_every_partition() -> None:
    """A partition alone can't tell what the others hold."""
    made = lazy(pd.DataFrame({"id": ["1", "2"], "c": pd.Categorical(["a", "b"])}), 2)
    table = open_table(made.assign(o=made["id"].astype(object)))
    assert table_types(table) == pa.schema([("c", pa.string()), ("o", pa.string())])


def test_a_run_of_a_dask_frame_is_known_again() -> None:
    """By what the frame is made of: `==` of two of them is a third one."""
    frame = frame_of(1, 2)
    asked, again = Asked(lazy(frame), None, False), Asked(lazy(frame), None, False)
    assert asked.is_same(again)
    assert not asked.is_same(Asked(lazy(frame_of(1, 3)), None, False))
    assert not asked.is_same(Asked(frame, None, False))
    assert not Asked(frame, None, False).is_same(asked)
    assert not asked.is_same(Asked(None, None, False))


def test_dask_is_not_imported_to_open_other_tables(tmp_path: Path) -> None:
    """It takes a second."""
    frame_of(1).to_parquet(tmp_path / "t.parquet")
    code = (
        "import sys, pandas; from turbobatch.recipients import open_table; open_table(pandas.DataFrame({'a': [1]}))\n"
        "open_table(sys.argv[1]); from turbobatch.recipients.portions import portions\n"
        "portions(open_table(sys.argv[1]), 2, whole_files=False); assert 'dask' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "t.parquet"], check=True)


def test_columns_that_no_table_has_are_refused() -> None:
    """As of a DataFrame."""
    levels = pd.DataFrame(np.zeros((1, 2)), columns=pd.MultiIndex.from_tuples([("a", "b"), ("a", "c")]))
    assert "more than one level" in fault(lazy(levels, 1))
