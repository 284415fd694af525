"""From failed addresses to a resend, by the command alone: audit, correct, send, and be killed in between."""

from __future__ import annotations

import csv
import os
import pty
import signal
import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

from turbobatch.report import read_report

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable
    from pathlib import Path
    from typing import Protocol

    from turbobatch.sandbox import Sandbox

    Letters = Callable[..., Path]

    class Command(Protocol):
        folder: Path

        def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]: ...
        def here(self, *arguments: object) -> subprocess.CompletedProcess[str]: ...
        def start(self, *arguments: object, stdin: int = ...) -> subprocess.Popen[str]: ...


PATIENCE = 30  # seconds


def people(rows: int, wrong: int) -> str:
    """A list whose first addresses are mistyped."""
    lines = [f"{n:04},Person {n},p{n}@{'gmial.con.' if n < wrong else 'x.example'}" for n in range(rows)]
    return "\n".join(["id,name,email", *lines, ""])


def correct(path: Path, old: str = "gmial.con.", new: str = "x.example") -> None:
    """Replace a domain in the table's own column, as somebody with a spreadsheet does."""
    with path.open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(line | {"email": line["email"].replace(old, new)} for line in lines)


def test_failed_addresses_are_corrected_and_sent(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """What each command says leads to the next one, and all reports tell the same in the end."""
    folder = letters(table=people(8, 3))
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    told = turbobatch.here("audit", "report.csv").stdout
    assert told.startswith("Failed addresses (3): 3 domain typo\n")
    assert "(did you mean p2@gmail.com?)" in told
    assert "turbobatch send CAMPAIGN --recipients failed.csv -o mended.csv" in told
    written = turbobatch.here("audit", folder, "-o", "failed.csv")
    assert f"\n  turbobatch send {folder} --recipients failed.csv -o mended.csv\n" in written.stdout
    assert written.stdout.startswith("3 failed addresses, written to failed.csv\nCorrect the table's own columns")

    correct(turbobatch.folder / "failed.csv")
    command = ("send", folder, "--recipients", "failed.csv", "-o", "second.csv", "--yes")
    assert turbobatch.here("check", folder, "--recipients", "failed.csv").stdout == "Every row can be sent.\n"
    first = turbobatch(*command)
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("3 rows: up to 3 emails to send\n")
    again = turbobatch(*command)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("3 rows (3 sent already): up to 0 emails to send\n")
    inbox = sandbox.inbox()
    assert sorted(inbox["subject"]) == [f"Letter {number:04}" for number in range(8)]
    for recipients, rows in ((["--recipients", "failed.csv"], 3), ([], 8)):
        assert turbobatch.here("report", folder, *recipients, "-o", "now.csv").returncode == 0
        report = read_report(turbobatch.folder / "now.csv")
        assert report["send_status"].tolist() == ["sent"] * rows
        assert list(report.columns[:3]) == ["id", "name", "email"]


def test_what_is_still_wrong_is_told_by_the_files_lines(
    letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """And keeps nobody else waiting; a key that was rewritten keeps everything from being sent."""
    folder = letters(table=people(4, 3))
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    path = turbobatch.folder / "failed.csv"
    assert turbobatch.here("audit", folder, "-o", path).returncode == 0
    correct(path, "p1@gmial.con.", "p1@x.example")
    checked = turbobatch.here("check", folder, "--recipients", path)
    assert checked.returncode == 1
    assert [line[:28] for line in checked.stdout.splitlines()] == [
        "row 0 (line 2 of failed.csv)", "row 2 (line 4 of failed.csv)", "2 rows can't be sent"
    ]  # fmt: skip
    path.write_text(path.read_text("utf-8").replace("0001", "1"), "utf-8")
    seen = sandbox.requests_seen()
    refused = turbobatch("send", folder, "--recipients", path, "-o", "second.csv", "--yes")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(
        "error: row 1 (line 3 of failed.csv): this campaign knows no key '1', which column"
    )
    assert sandbox.requests_seen() == seen


def test_a_new_campaigns_addresses_are_its_keys(turbobatch: Command, sandbox: Sandbox) -> None:
    """What `init` makes: a corrected address leaves once, and the table's own report tells it."""
    assert turbobatch("init", "first").returncode == 0
    table = turbobatch.folder / "first" / "recipients.csv"
    table.write_text(table.read_text("utf-8") + "Zoe,zoe@@gmial.com,Nice\n", "utf-8")
    assert turbobatch.here("send", "first", "-o", "report.csv", "--yes").returncode == 1
    assert turbobatch.here("audit", "first", "-o", "failed.csv").returncode == 0
    correct(turbobatch.folder / "failed.csv", "zoe@@gmial.com", "zoe@gmail.com")
    assert turbobatch.here("check", "first", "--recipients", "failed.csv").stdout == "Every row can be sent.\n"
    sent = turbobatch("send", "first", "--recipients", "failed.csv", "-o", "mended.csv", "--yes")
    assert (sent.returncode, sent.stderr) == (0, "")
    for recipients in (["--recipients", "failed.csv"], []):
        again = turbobatch("send", "first", *recipients, "-o", "report.csv", "--yes")
        assert again.returncode == 0, again.stderr
        assert "up to 0 emails to send" in again.stdout
        assert len(sandbox.inbox()) == 4
    report = read_report(turbobatch.folder / "report.csv")
    assert report["send_status"].tolist() == ["sent"] * 4
    assert report["send_key"].tolist()[-1] == "zoe@@gmial.com"


@pytest.mark.parametrize("ending", [".csv", ".xlsx"])
def test_a_killed_resend_goes_on_where_it_was(
    ending: str, letters: Letters, turbobatch: Command, slow_sandbox: Sandbox
) -> None:
    """Nobody gets two, and what was under way at the kill is held and named."""
    folder = letters(table=people(24, 20))
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    assert turbobatch.here("audit", folder, "-o", "failed.csv").returncode == 0
    correct(turbobatch.folder / "failed.csv")
    given = f"failed{ending}"
    if ending == ".xlsx":
        pd.read_csv(turbobatch.folder / "failed.csv", dtype=str).to_excel(turbobatch.folder / given, index=False)
    before = slow_sandbox.requests_seen()
    process = turbobatch.start("send", folder, "--recipients", given, "-o", "second.csv", "--yes")
    begun = time.monotonic()
    while slow_sandbox.requests_seen() < before + 6 and time.monotonic() < begun + PATIENCE:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == -signal.SIGKILL
    done = turbobatch("send", folder, "--recipients", given, "-o", "second.csv", "--yes")
    report = read_report(turbobatch.folder / "second.csv")
    counts = report["send_status"].value_counts()
    assert counts.sum() == 20
    assert set(counts.index) <= {"sent", "in_doubt"}
    assert counts.get("in_doubt", 0) <= 2  # as many as were in flight
    assert done.returncode == (1 if "in_doubt" in counts else 0)
    ids = slow_sandbox.inbox()["reference_id"]
    assert not ids.duplicated().any()
    assert set(report.loc[report["send_status"] == "sent", "id"]) <= set(ids)


@pytest.mark.measured
@pytest.mark.usefixtures("sandbox")
def test_an_email_that_bounced_has_left(letters: Letters, turbobatch: Command) -> None:
    """Each command that reads its corrected row says that it isn't sent again, and how it can be."""
    folder = letters(table="id,name,email\n1,Ana,bounce@x.example\n2,Bea,bea@@x.example\n")
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    told = turbobatch.here("audit", folder, "--delivery", "-o", "failed.csv").stdout
    assert "1 of the 2 can be sent again. Correct " in told
    left = "1 has left: to send it again takes another campaign name, and a table without the audit's own columns.\n"
    assert told.endswith(left)
    correct(turbobatch.folder / "failed.csv", "bounce@", "ana@")
    correct(turbobatch.folder / "failed.csv", "@@", "@")
    given = ("--recipients", "failed.csv")
    said = (
        "warning: failed.csv: 1 row has left, or may have, and isn't sent again, corrected or not; "
        "to send it with another campaign, delete the audit's own columns\n"
    )
    checked = turbobatch.here("check", folder, *given)
    sent = turbobatch("send", folder, *given, "-o", "second.csv", "--yes")
    reported = turbobatch.here("report", folder, *given, "-o", "now.csv")
    assert [checked.stderr, sent.stderr, reported.stderr] == [said] * 3
    assert sent.stdout.startswith("2 rows (1 sent already): up to 1 emails to send\n")
    assert read_report(turbobatch.folder / "now.csv")["send_status"].tolist() == ["sent", "sent"]


@pytest.mark.usefixtures("sandbox")
def test_nothing_is_advised_of_what_cant_be_given_back(letters: Letters, turbobatch: Command) -> None:
    """A page is for people; of what has left nothing can be sent under the same name."""
    folder = letters(table="id,name,email\n1,Ana,bounce@x.example\n")
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 0
    assert "turbobatch send" not in turbobatch.here("audit", folder, "--delivery").stdout
    page = turbobatch.here("audit", folder, "--delivery", "-o", "failed.html").stdout
    assert page == "1 failed addresses, written to failed.html\nDeliveries, by row:\n        1 bounced\n\n"


@pytest.mark.measured
@pytest.mark.usefixtures("sandbox")
def test_an_audit_is_not_replaced_unasked(letters: Letters, turbobatch: Command) -> None:
    """What was corrected by hand in it would be lost; of other files nobody is asked."""
    folder = letters(table=people(3, 2))
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    path = turbobatch.folder / "failed.csv"
    path.write_text("a,b\n1,2\n", encoding="utf-8")
    audit = ("audit", folder, "-o", "failed.csv")
    assert turbobatch.here(*audit).returncode == 0
    written = path.read_text("utf-8")
    correct(path)
    without = path.read_text("utf-8").replace("row,", "line,")
    for kept in (path.read_text("utf-8"), without):  # also where a column was lost
        path.write_text(kept, "utf-8")
        done = turbobatch.here(*audit)
        assert (done.returncode, done.stdout, path.read_text("utf-8")) == (2, "", kept)
        assert done.stderr == (
            "error: failed.csv is an audit already, and may have been corrected by hand: "
            "give the output another name, or say --yes to replace it\n"
        )
    for answer, code, text in (("n\n", 2, without), ("y\n", 0, written)):
        outside, inside = pty.openpty()
        process = turbobatch.start(*audit, stdin=inside)
        os.close(inside)
        with os.fdopen(outside, "wb", buffering=0) as terminal:
            terminal.write(answer.encode())
            out, _ = process.communicate(timeout=PATIENCE)
        assert (process.returncode, path.read_text("utf-8")) == (code, text)
        assert "Replace it? [y/N]: " in out
    correct(path)
    assert turbobatch.here(*audit, "--yes").returncode == 0
    assert path.read_text("utf-8") == written
    assert turbobatch.here("audit", folder).returncode == 0


@pytest.mark.usefixtures("sandbox")
def test_an_audit_of_another_table_and_journal(letters: Letters, turbobatch: Command) -> None:
    """They go with a campaign: a report has its rows."""
    folder = letters()
    (turbobatch.folder / "other.csv").write_text(people(2, 1), encoding="utf-8")
    given, journal = ("--recipients", "other.csv"), ("--journal", "other.db")
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes", *given, *journal).returncode == 1
    told = turbobatch.here("audit", folder, *given, *journal).stdout
    assert told.startswith("Failed addresses (1): 1 domain typo\n")
    assert f"\n  turbobatch send {folder} --recipients failed.csv -o mended.csv --journal other.db\n" in told
    assert turbobatch.here("audit", folder, *given).stdout == "No address failed.\n\n"
    missing = turbobatch.here("audit", folder, "--journal", "mistyped.db")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    for options in (given, journal):
        done = turbobatch.here("audit", "report.csv", *options)
        assert (done.returncode, done.stdout) == (2, "")
        said = "report.csv is taken for a report, which has its rows: --recipients and --journal go with a campaign"
        assert done.stderr == f"error: {said}\n"
