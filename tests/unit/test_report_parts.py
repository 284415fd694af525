"""Reports in parts: a folder of Parquet files that everybody reads as one report, there whole or not at all."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import dask.dataframe as dd
import pandas as pd
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

import turbobatch as tb
from turbobatch.errors import CampaignError
from turbobatch.policy import Status
from turbobatch.report import check_report_path, read_report, report_chunks, write_report
from turbobatch.report.parts import holds_parts, report_folder, write_part, write_parts
from turbobatch.results import RowVerdict, joined, numbered

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """The name of a folder that isn't there yet."""
    return f"{tmp_path / 'report'}/"


def results(start: int = 0, stop: int = 10) -> pd.DataFrame:
    """Rows of which every third failed."""
    numbers = range(start, stop)
    sent, failed = RowVerdict(Status.SENT, "OK", (), "17", 200, 1, 1e9, 0.5), RowVerdict(Status.INVALID, "no", ("no",))
    verdicts = [(sent if number % 3 else failed)._replace(send_key=f"{number:03}") for number in numbers]
    own = pd.DataFrame(
        {"id": [f"{number:03}" for number in numbers], "n": list(numbers)}, index=pd.RangeIndex(start, stop)
    )
    return numbered(joined(own, verdicts), start)


def chunks(rows: int, size: int) -> Iterator[pd.DataFrame]:
    for start, stop in pairwise([*range(0, rows, size), rows]):
        yield results(start, stop)


def names(folder: str | Path) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def digits(rows: int) -> list[str]:
    return [f"{row:03}" for row in range(rows)]


# One dataset


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, about what Dask does
def test_a_report_in_parts_is_one_dataset_in_the_order_of_the_rows(folder: str) -> None:
    """For pandas, pyarrow, Dask and for us."""
    write_parts(chunks(100, 10), folder, rows=25)
    assert names(folder) == [f"part-0000{number}.parquet" for number in range(4)]
    assert [pq.read_metadata(path).num_rows for path in sorted(Path(folder).iterdir())] == [30, 30, 30, 10]
    assert pd.read_parquet(folder)["id"].tolist() == digits(100)
    assert pa.dataset.dataset(folder).to_table()["id"].to_pylist() == digits(100)
    assert dd.read_parquet(folder).compute()["id"].tolist() == digits(100)
    assert read_report(folder).index.tolist() == list(range(100))
    assert [len(chunk) for chunk in report_chunks(folder)] == [30, 30, 30, 10]


def test_it_has_the_columns_and_types_of_one_file(folder: str, tmp_path: Path) -> None:
    """In every part, and compressed alike."""
    write_report(chunks(20, 5), tmp_path / "report.parquet")
    write_parts(chunks(20, 5), folder, rows=5)
    one = pq.read_schema(tmp_path / "report.parquet")
    for path in Path(folder).iterdir():
        assert pq.read_schema(path) == one
        assert pq.read_metadata(path).row_group(0).column(0).compression == "ZSTD"
    assert_frame_equal(read_report(folder), read_report(tmp_path / "report.parquet"))


def test_a_column_without_values_in_the_first_part_keeps_its_type(folder: str) -> None:
    """As in one file: what comes later is held by it, or one line says that it can't be."""
    first, second = results(0, 2).assign(x=None), results(2, 4).assign(x=["a", "b"])
    write_parts([first, second], folder, rows=2)
    assert read_report(folder)["x"].tolist()[2:] == ["a", "b"]
    with pytest.raises(CampaignError, match=r"column 'n' holds \w+ beside int64: write a \.csv report"):
        write_parts([first, second.assign(n=["a", "b"])], folder, rows=2)


def test_what_a_report_is_good_for_works_in_parts(folder: str, tmp_path: Path) -> None:
    """Read, audited, counted, written again, and given back as a table."""
    write_report(results(), folder)
    assert names(folder) == ["part-00000.parquet"]
    audit = tb.audit(read_report(folder))
    assert audit["row"].tolist() == [0, 3, 6, 9]
    write_report(report_chunks(folder), tmp_path / "again.csv")
    assert read_report(tmp_path / "again.csv")["id"].tolist() == digits(10)
    write_report(audit, f"{tmp_path / 'failed'}/")
    assert pd.read_parquet(tmp_path / "failed")["send_key"].tolist() == ["000", "003", "006", "009"]
    assert tb.summary(folder).rows == 10


def test_a_report_without_rows_is_one_part_without_rows(folder: str) -> None:
    """With its columns."""
    write_report(results(0, 0), folder)
    assert read_report(folder).columns.tolist() == results().columns.tolist()
    assert len(read_report(folder)) == 0


# There whole or not at all


def test_the_next_report_takes_the_place_of_the_whole_one_before(folder: str) -> None:
    """No part of the old one is left; the slash may be left out then."""
    write_parts(chunks(40, 10), folder, rows=10)
    write_report(results(0, 5), Path(folder))
    assert names(folder) == ["part-00000.parquet"]
    assert len(read_report(Path(folder))) == 5
    assert names(Path(folder).parent) == ["report"]


def test_a_report_that_fails_leaves_the_one_before(folder: str) -> None:
    """And nothing beside it."""

    def failing() -> Iterator[pd.DataFrame]:
        yield from chunks(20, 10)
        raise RuntimeError("broken on purpose")

    write_report(results(), folder)
    with pytest.raises(RuntimeError, match="on purpose"):
        write_parts(failing(), folder, rows=10)
    assert len(read_report(folder)) == 10
    assert names(Path(folder).parent) == ["report"]


def test_a_report_is_durable_before_it_takes_its_place(
    folder: str, synced: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its files, their names, and then the folder's own name."""
    renamed: list[Path] = []
    rename = Path.rename

    def noting(path: Path, target: Path) -> Path:
        assert path.stat().st_ino in synced
        synced.clear()
        renamed.append(path)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", noting)
    with report_folder(folder) as temporary:
        parts = [write_part([chunk], temporary, number) for number, chunk in enumerate(chunks(20, 10))]
        assert {path.stat().st_ino for path in parts} <= set(synced)
        (temporary / ".part-00002.parquet.0123abcd.tmp").touch()
        synced.clear()  # that this one goes has to be durable as well
    assert renamed == [temporary]
    assert Path(folder).parent.stat().st_ino in synced


def test_a_symlink_stays_one(folder: str, tmp_path: Path) -> None:
    """The folder that it leads to is replaced."""
    write_report(results(), folder)
    (tmp_path / "link").symlink_to(folder)
    write_report(results(0, 3), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert len(read_report(folder)) == len(read_report(tmp_path / "link")) == 3


@pytest.mark.parametrize("name", ["notes.txt", "part-1.csv", ".hidden", "_SUCCESS", "part-00001.parquet/"])
def test_a_folder_that_holds_something_else_is_never_replaced(name: str, folder: str) -> None:
    """Whatever it is: one line, and all of it stays."""
    write_report(results(), folder)
    path = Path(folder) / name
    path.mkdir() if name.endswith("/") else path.write_text("mine")
    before = names(folder)
    said = rf"report can't be written: it holds {path.name}, which is no part of a report: name another folder"
    looked: list[str] = []

    def asked_for() -> Iterator[pd.DataFrame]:
        looked.append("the results")
        yield results()

    with pytest.raises(CampaignError, match=said):
        check_report_path(folder)
    with pytest.raises(CampaignError, match=said):
        write_report(asked_for(), folder)
    assert looked == []  # it is said before the work
    assert names(folder) == before


def test_what_comes_into_the_folder_meanwhile_stays(folder: str) -> None:
    """It is looked at again before it is replaced."""
    write_report(results(), folder)

    def meanwhile() -> Iterator[pd.DataFrame]:
        yield results(0, 3)
        (Path(folder) / "mine.txt").write_text("mine")

    with pytest.raises(CampaignError, match=r"it holds mine\.txt"):
        write_report(meanwhile(), folder)
    assert names(folder) == ["mine.txt", "part-00000.parquet"]
    assert names(Path(folder).parent) == ["report"]


def test_a_path_is_checked_before_a_run(folder: str, tmp_path: Path) -> None:
    """A new folder, an empty one and an old report are fine."""
    check_report_path(folder)
    Path(folder).mkdir()
    check_report_path(folder)
    assert not holds_parts(Path(folder))
    write_report(results(), folder)
    check_report_path(Path(folder))
    (tmp_path / "file").write_text("x")
    with pytest.raises(CampaignError, match="file can't be written: it is no folder"):
        check_report_path(f"{tmp_path / 'file'}/")
    with pytest.raises(CampaignError, match=r"new: the name has no ending .* or NAME/ for a folder of Parquet files"):
        check_report_path(tmp_path / "new")
    with pytest.raises(CampaignError, match="there is no folder"):
        check_report_path(f"{tmp_path / 'nowhere' / 'report'}/")
    with pytest.raises(CampaignError, match="report can't be written: No such file"):
        write_report(results(), f"{tmp_path / 'nowhere' / 'report'}/")
    with pytest.raises(CampaignError, match=r"only a page \(\.html\) can have its addresses masked"):
        write_report(results(), folder, mask_addresses=True)


def test_a_folder_that_is_no_report_is_told(folder: str, tmp_path: Path) -> None:
    """Empty, of text, of another table."""
    Path(folder).mkdir()
    with pytest.raises(CampaignError, match="report is a folder: name the file in it"):
        read_report(folder)
    results().to_csv(f"{folder}0.csv", index=False)
    with pytest.raises(CampaignError, match=r"report is no report: a folder that is one holds \.parquet files"):
        read_report(folder)
    (tmp_path / "table").mkdir()
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "table" / "0.parquet")
    with pytest.raises(CampaignError, match="table is no report: it has no column 'send_status'"):
        read_report(tmp_path / "table")


# Several writers

WRITER = """
import sys
from pathlib import Path
from turbobatch.report import read_report
from turbobatch.report.parts import write_part
write_part([read_report(sys.argv[1])], Path(sys.argv[2]), int(sys.argv[3]))
"""


def test_workers_write_parts_in_any_order(folder: str, tmp_path: Path) -> None:
    """Each in its own process; a part that is written again is replaced."""
    for number, chunk in enumerate(chunks(30, 10)):
        write_report(chunk, tmp_path / f"{number}.parquet")
    with report_folder(folder) as temporary:
        write_part([results(0, 3)], temporary, 2)
        command = [sys.executable, "-c", WRITER]
        started = [
            subprocess.Popen([*command, tmp_path / f"{number}.parquet", temporary, str(number)]) for number in (2, 0, 1)
        ]
        assert [process.wait() for process in started] == [0, 0, 0]
        assert not Path(folder).exists()
    assert read_report(folder)["id"].tolist() == digits(30)
    assert read_report(folder)["n"].dtype == "int64"


KILLED = """
import sys
from turbobatch.report.parts import report_folder, write_part
from turbobatch.report.atomic import replacing
with report_folder(sys.argv[1]) as folder, replacing(folder / "part-00000.parquet") as part:
    part.write_text("half of it")
    print(folder, flush=True)
    sys.stdin.readline()
"""


def test_what_killed_writers_have_left_is_removed_by_the_next(folder: str) -> None:
    """One that lives keeps its folder, and so does what belongs to nobody here."""
    parent = Path(folder).parent
    (parent / ".report.notes.tmp").mkdir()
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", KILLED, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    kept = []
    for writer in writers:
        assert writer.stdout is not None
        kept.append(Path(writer.stdout.readline().strip()))
    killed, alive = writers
    killed.kill()
    killed.wait()
    assert [path.is_dir() for path in kept] == [True, True]
    write_report(results(), folder)
    assert [path.is_dir() for path in kept] == [False, True]
    alive.communicate("\n")
    assert alive.returncode == 0
    killed.communicate()
    assert names(parent) == [".report.notes.tmp", "report"]
    assert names(folder) == ["part-00000.parquet"]
    assert (Path(folder) / "part-00000.parquet").read_text() == "half of it"


def test_unfinished_parts_of_killed_workers_are_no_parts(folder: str) -> None:
    """They go before the report takes its place."""
    with report_folder(folder) as temporary:
        write_part([results()], temporary, 0)
        (temporary / ".part-00001.parquet.0123abcd.tmp").write_text("half of it")
    assert names(folder) == ["part-00000.parquet"]
