"""The console in JupyterLab, clicked by a browser; what was sent is read in the sandbox's own ledger."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import turbobatch as tb
from tests.browser.looks import faults_of, publish
from tests.browser.panes import Panes, keys, ledger

if TYPE_CHECKING:
    from tests.browser.conftest import Open
    from tests.browser.lab import JupyterLab

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.unmeasured]

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "04_console.ipynb"
COUNTS = {"sent": 187, "rejected": 7, "invalid": 5, "duplicate": 1, "suppressed": 2, "in_doubt": 2}


def test_the_notebook(open_notebook: Open, lab: JupyterLab) -> None:
    """Preview, check, test, send and export the sample receipts, as the notebook invites to; nothing is cut off."""
    notebook = open_notebook(NOTEBOOK)
    notebook.run(0)
    assert "'sent': 20" in notebook.run(1).inner_text()
    panes = Panes(notebook.run(2))
    panes.says("partly sent")
    host = re.search(r"127\.0\.0\.1:\d+", panes.text())
    assert host
    url = f"http://{host[0]}"
    assert len(keys(url)) == 20

    preview(panes)
    faults = faults_of(notebook, panes.output, "preview")
    publish("preview-1280-light", "console")
    check(panes)
    faults += faults_of(notebook, panes.output, "check")
    from_a_problem_to_its_row(panes)
    faults += faults_of(notebook, panes.output, "problem")
    send_a_test(panes, url)
    count(panes)
    faults += faults_of(notebook, panes.output, "count")
    start(panes)
    faults += faults_of(notebook, panes.output, "send")
    panes.open("Results")
    panes.says("187 sent")
    faults += faults_of(notebook, panes.output, "results")
    export(panes, lab.work)
    settle_what_is_in_doubt(panes, url)
    assert faults == []

    arrived = keys(url)
    assert len(arrived) == len(set(arrived)) == 189
    assert "'sent': 189" in notebook.run(3).inner_text()


def preview(panes: Panes) -> None:
    """Step, search, and look at the email in its forms."""
    panes.says(re.compile(r"^row 0 .*1 of 204"))
    panes.press("▶")
    panes.press("▶")
    panes.says(re.compile(r"^row 2 .*3 of 204"))
    panes.press("◀")
    panes.says(re.compile(r"^row 1 .*2 of 204"))
    panes.email.get_by_text("Thank you, Ava!").wait_for()
    panes.box("search the rows").fill("müllhofer")
    panes.press("Find")
    panes.says(re.compile(r"^row 0 .*1 of [1-9]"))
    panes.box("search the rows").fill("doe, jane")
    panes.press("Find")
    panes.says('"Doe, Jane" <jane.doe@example.org>')
    panes.email.get_by_text("Thank you, Jane!").wait_for()
    panes.press("Text")
    panes.says(re.compile(r"^\* 6 . Bread knife = 150\.00", re.MULTILINE))
    panes.press("Wire fields")
    panes.says('"reference_id": "0010417"')
    panes.press("HTML")
    panes.email.get_by_text("Thank you, Jane!").wait_for()


def check(panes: Panes) -> None:
    """The problems by cause, and the rows of one cause."""
    panes.open("Check")
    panes.press("Check all rows")
    panes.says(re.compile("204 rows: 8 problems of 6 kinds; 5 rows can't be sent"))
    panes.button("2 rows").first.click()
    panes.says("row 131 (line 133 of receipts.csv)")


def from_a_problem_to_its_row(panes: Panes) -> None:
    """A click on a problem shows its row; the preview steps through the problem rows alone."""
    panes.press("row 131")
    panes.says("makes no email: row 131")
    panes.says("broken2@@@Address2.@@222")
    panes.choose("rows with problems")
    panes.says(re.compile(r"^row 131 .* of 8"))
    panes.press("▶")
    panes.says(re.compile(r"^row 148 .* of 8"))
    panes.says(re.compile(r"INV-2026-0999\.pdf' not found"))


def send_a_test(panes: Panes, url: str) -> None:
    """A test of the row that is previewed goes to the address that was typed, and to nobody else."""
    panes.choose("all rows")
    panes.press("◀")
    panes.says(re.compile(r"^row 147 "))
    panes.open("Send")
    panes.field("Address").fill("me@example.org")
    panes.press("Send a test of row 147")
    panes.says("row 147 to me@example.org: sent")
    assert [item["to"] for item in ledger(url)][20:] == ["me@example.org"]


def count(panes: Panes) -> None:
    """Nothing but the right number lets a run start."""
    panes.press("Count what there is to send")
    panes.says(re.compile("up to 183 emails"))
    panes.field("Type the number of emails").fill("182")
    panes.says("182 is not the number of emails: type 183 to start")
    assert panes.button("Start").is_disabled()


def start(panes: Panes) -> None:
    """A double click starts one run."""
    panes.field("Type the number of emails").fill("183")
    panes.says("ready")
    panes.button("Start").dblclick()
    panes.says(re.compile("rows/s"))


def export(panes: Panes, folder: Path) -> None:
    """Each file holds every row with its verdict; a folder that isn't there is told of in the pane."""
    for name, ending in (("CSV", "csv"), ("Parquet", "parquet"), ("Excel", "xlsx")):
        panes.choose(name)
        panes.press("Export")
        panes.says(re.compile(rf"204 rows written to .*results\.{ending}"))
        written = tb.read_report(folder / panes.field("File").input_value())
        assert Counter(written["send_status"]) == COUNTS
    panes.field("File").fill("no/such/folder/report.csv")
    panes.press("Export")
    panes.says(re.compile("no/such/folder.*"))


def settle_what_is_in_doubt(panes: Panes, url: str) -> None:
    """What the sandbox took without an answer is settled as sent, once that is confirmed."""
    doubts = panes.doubts.locator("option").all_text_contents()
    assert len(doubts) == 2
    assert set(doubts) <= set(keys(url))
    panes.press("Choose all")
    panes.press("Settle as sent")
    panes.says(f"Settle 2 emails as sent, {', '.join(doubts)}? What is sent is never sent again.")
    panes.press("Settle")
    panes.says("2 settled as sent")
    panes.says("189 sent")
