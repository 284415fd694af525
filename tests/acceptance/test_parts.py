"""Tables and reports in parts, as the command line takes them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
from pandas.testing import assert_frame_equal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Command

    from turbobatch.sandbox import Sandbox

ROWS = 12  # in three parts of four


def in_parts(folder: Path) -> Path:
    """Cut a campaign's table into parts, whose names sort as texts in another order than as numbers."""
    (folder / "people.csv").unlink()
    (folder / "people").mkdir()
    for part, number in enumerate((2, 9, 10)):
        rows = range(part * 4, part * 4 + 4)
        people = [f"{row:03},Person {row},{'broken' if row == 9 else f'p{row}@example.org'}\n" for row in rows]
        (folder / "people" / f"part.{number}.csv").write_text("".join(["id,name,email\n", *people]))
    (folder / "people" / "_SUCCESS").touch()
    text = (folder / "campaign.toml").read_text()
    (folder / "campaign.toml").write_text(text.replace("people.csv", "people"))
    return folder


def test_csv_parts_go_in_and_a_parquet_dataset_comes_out(
    turbobatch: Command, sandbox: Sandbox, letters: Callable[..., Path], tmp_path: Path
) -> None:
    """Row by row in the table's order, and every command reads both."""
    folder = in_parts(letters())
    where = "row 9 (line 3 of part.10.csv)"
    checked = turbobatch("check", folder)
    assert checked.returncode == 1
    assert where in checked.stdout
    assert "p5@example.org" in turbobatch("preview", folder, "--row", "5").stdout
    sent = turbobatch("send", folder, "-o", "report/", "--yes")
    assert sent.returncode == 1, sent.stderr
    assert "Report: report/" in sent.stdout
    report = pd.read_parquet(tmp_path / "report")
    assert report["id"].tolist() == [f"{row:03}" for row in range(ROWS)]
    assert report["send_status"].tolist() == ["sent"] * 9 + ["invalid"] + ["sent"] * 2
    assert report["send_message"][9].startswith(where)
    assert len(sandbox.inbox()) == ROWS - 1
    assert json.loads(turbobatch("status", folder, "--json").stdout)["statuses"] == {"sent": 11, "invalid": 1}
    again = turbobatch("send", folder, "-o", "report", "--yes")  # it is there, so that the slash may go
    assert again.returncode == 1, again.stderr
    assert len(sandbox.inbox()) == ROWS - 1
    assert turbobatch("report", folder, "-o", "other.parquet/").returncode == 0
    assert_frame_equal(pd.read_parquet(tmp_path / "other.parquet"), pd.read_parquet(tmp_path / "report"))
    for source in ("report", "report/", "other.parquet"):
        audited = turbobatch("audit", source, "-o", f"{source.strip('/')}-failed.csv")
        assert audited.returncode == 0, audited.stderr
        assert pd.read_csv(tmp_path / f"{source.strip('/')}-failed.csv", dtype=str)["row"].tolist() == ["9"]
        (tmp_path / f"{source.strip('/')}-failed.csv").unlink()


def test_an_audit_of_a_table_in_parts_is_corrected_and_given_back(
    turbobatch: Command, sandbox: Sandbox, letters: Callable[..., Path], tmp_path: Path
) -> None:
    """What was mended is sent, and nothing else."""
    folder = in_parts(letters())
    turbobatch("send", folder, "-o", "report/", "--yes")
    turbobatch("audit", "report", "-o", "failed.csv")
    audit = pd.read_csv(tmp_path / "failed.csv", dtype=str)
    audit.assign(email="mended@example.org").to_csv(tmp_path / "failed.csv", index=False)
    mended = turbobatch("send", folder, "--recipients", "failed.csv", "-o", "mended/", "--yes")
    assert mended.returncode == 0, mended.stderr
    assert "warning" not in mended.stderr
    assert len(sandbox.inbox()) == ROWS
    assert pd.read_parquet(tmp_path / "mended")["email"].tolist() == ["mended@example.org"]


def test_what_would_be_overwritten_is_refused_in_one_line(
    turbobatch: Command, letters: Callable[..., Path], tmp_path: Path
) -> None:
    """Before anything is sent: the table's parts, and folders that hold something else."""
    folder = in_parts(letters())
    own = f"{folder / 'people'}"
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    faults = {
        f"{own}/part.2.csv": "is a file of the campaign itself: give the output another name",
        f"{own}/new.csv": "is a file of the campaign itself: give the output another name",
        f"{own}/": "holds _SUCCESS, which is no part of a report: name another folder",
        "notes/": "holds mine.txt, which is no part of a report: name another folder",
        "notes": "notes: the name has no ending to tell the format by",
    }
    for output, said in faults.items():
        refused = turbobatch("report", folder, "-o", output)
        assert refused.returncode == 2, output
        assert refused.stderr.startswith("error: ")
        assert said in refused.stderr
        assert len(refused.stderr.splitlines()) == 1
    assert sorted(path.name for path in (folder / "people").iterdir()) == [
        "_SUCCESS", "part.10.csv", "part.2.csv", "part.9.csv"
    ]  # fmt: skip
    refused = turbobatch("audit", "notes")
    assert "campaign.toml can't be read" in refused.stderr
