"""What came of it afterwards, on the command line: rows in doubt are reconciled, deliveries told."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from turbobatch.report import read_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Command

    from turbobatch.sandbox import Sandbox

    Letters = Callable[..., Path]

TABLE = "id,name,email\n1,Ana,ana@x.example\n2,Bea,reset-after@x.example\n3,Cleo,reset-before@x.example\n"


@pytest.mark.measured
def test_reconcile_settles_what_the_vendor_has_and_names_what_remains(
    letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """What was found is sent, with its message id; the rest is the user's, and resolve says how. Then all is sent."""
    folder = letters(table=TABLE)
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    done = turbobatch.here("reconcile", folder, "--grace", "0")
    assert (done.returncode, done.stderr) == (1, "")
    assert "2 in doubt, 1 of them found and settled as sent:" in done.stdout
    assert (
        f"found     key 2  found in the vendor's analytics: delivered (mid {sandbox.inbox()['mid'].iloc[1]})"
        in done.stdout
    )
    assert "missing   key 3  not in the analytics" in done.stdout
    assert f"turbobatch resolve {folder} --as sent|pending" in done.stdout
    assert f"by hand: turbobatch resolve {folder} --as sent|pending\n" in turbobatch.here("status", folder).stdout

    assert turbobatch.here("resolve", folder, "--as", "pending", "--key", "3").returncode == 0
    (folder / "people.csv").write_text(TABLE.replace("reset-before", "cleo"))
    assert turbobatch("send", folder, "-o", "report.csv", "--yes").returncode == 0
    assert sorted(sandbox.inbox()["reference_id"]) == ["1", "2", "3"]
    done = turbobatch.here("reconcile", folder)
    assert (done.returncode, done.stdout) == (0, "No email is in doubt.\n\n")


@pytest.mark.usefixtures("sandbox")
def test_commands_that_are_suggested_name_the_same_table_and_journal(letters: Letters, turbobatch: Command) -> None:
    """Else they would look at others, where nothing is in doubt."""
    folder = letters()
    (turbobatch.folder / "other people.csv").write_text(TABLE)
    given, journal = ("--recipients", "other people.csv"), ("--journal", "other.db")
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes", *given, *journal).returncode == 1
    reconcile = f"turbobatch reconcile {folder} --recipients 'other people.csv' --journal other.db"
    resolve = f"turbobatch resolve {folder} --journal other.db --as sent|pending"
    assert f"Settle them with: {reconcile} (v2), or by hand: {resolve}\n" in (
        turbobatch.here("status", folder, *given, *journal).stdout
    )
    done = turbobatch.here(*shlex.split(reconcile)[1:], "--grace", "0")
    assert (done.returncode, done.stderr) == (1, "")
    assert f"\n  {resolve} " in done.stdout
    told = turbobatch.here("audit", folder, *given, *journal).stdout
    assert told.startswith("Failed addresses (1): 1 in doubt\n  row 2 ")
    assert told.endswith("1 in doubt: not sent again before settled, by `turbobatch reconcile` or `resolve`.\n")


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        ("no journal", (2, "there is no journal at")),
        ("v1", (2, "no credentials: set TURBOSMTP_CONSUMER_KEY and TURBOSMTP_CONSUMER_SECRET")),
        ("wrong secret", (3, "refused the credentials")),
        ("away", (3, "gave no word on the analytics")),
    ],
)
def test_a_vendor_that_cant_be_asked_settles_nothing(
    prepare: str, expected: tuple[int, str], letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """One line, and the rows stay in doubt."""
    folder = letters(table=TABLE)
    if prepare != "no journal":
        assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    if prepare == "v1":
        turbobatch.use(sandbox, "v1")
    if prepare == "wrong secret":
        turbobatch.use(sandbox, password="not-this-one")
    if prepare == "away":
        sandbox.stop()
    done = turbobatch.here("reconcile", folder)
    assert (done.returncode, done.stdout) == (expected[0], "")
    assert expected[1] in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "not-this-one" not in done.stderr
    if prepare != "no journal":
        assert turbobatch.here("report", folder, "-o", "again.csv").returncode == 0
        report = pd.read_csv(turbobatch.folder / "again.csv")
        assert report["send_status"].tolist() == ["sent", "in_doubt", "in_doubt"]


@pytest.mark.measured
@pytest.mark.usefixtures("sandbox")
def test_the_audit_and_the_report_tell_of_deliveries(letters: Letters, turbobatch: Command) -> None:
    """Counts of all sent rows; a bounce is a failure with its reason; the report has what became of each."""
    table = "id,name,email\n1,Ana,ana@x.example\n2,Bea,bounce@x.example\n3,Cleo,open@x.example\n4,Dan,broken\n"
    folder = letters(table=table)
    assert turbobatch.here("send", folder, "-o", "report.parquet", "--yes").returncode == 1
    for source in (folder, "report.parquet"):
        done = turbobatch.here("audit", source, "--delivery", "-o", "failed.csv", "--yes")
        assert (done.returncode, done.stderr) == (0, "")
        assert "Deliveries, by row:\n        1 bounced\n        1 delivered\n        1 opened\n" in done.stdout
        failed = pd.read_csv(turbobatch.folder / "failed.csv")
        assert failed[["address", "category", "name"]].to_numpy().tolist() == [
            ["bounce@x.example", "bounced", "Bea"],
            ["broken", "syntax", "Dan"],
        ]
    assert turbobatch.here("report", folder, "-o", "again.parquet", "--delivery").returncode == 0
    report = read_report(turbobatch.folder / "again.parquet")
    assert report["delivery_status"].fillna("").tolist() == ["delivered", "bounced", "opened", ""]
