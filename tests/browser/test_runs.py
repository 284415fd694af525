"""A run of two hundred rows, some of them ill-fated, through everything that a notebook does to it."""

from __future__ import annotations

import csv
import re
from typing import TYPE_CHECKING

import pytest

from tests.browser.panes import Panes, keys, ledger
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Page

    from tests.browser.conftest import Open
    from tests.browser.lab import JupyterLab, Notebook
    from tests.conftest import Until

pytestmark = [pytest.mark.xdist_group("browser"), pytest.mark.unmeasured]

ROWS = 200
CONCURRENCY = 4
LATENCY = 0.5  # seconds for each answer: whatever is clicked in the first run and the second finds them in progress
SECRET = "S3cr3tBn8Lg4Wq"
EVERY_KEY = [f"{number:03}" for number in range(ROWS)]
FATES = {
    "005": "reject+a@letters.example",
    "020": "reject+b@letters.example",
    "100": "reset-after+c@letters.example",  # accepted, but no answer comes
    "140": "nobody@@letters.example",
    "180": "500+d@letters.example",  # not accepted, but who could know by the answer
}

SETUP = f"""
from pathlib import Path

import turbobatch as tb

message = tb.MailMerge(
    from_="Acme <shop@acme.example>", to="{{{{ email }}}}", subject="Letter {{{{ id }}}}", text="Letter {{{{ id }}}}"
)
campaign = tb.Campaign(
    name="letters", message=message, recipients="people.csv", key="id", rate="100/second", concurrency={CONCURRENCY}
)
client = tb.TurboClient(
    consumer_key="sandbox", consumer_secret=Path("secret").read_text(), base_url=Path("url").read_text()
)
"""
CONSOLE = "tb.Console(campaign, client=client)"
BUSY = """
import time

Path("busy").touch()
while Path("busy").exists():
    time.sleep(0.01)
"""


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency=LATENCY, consumer_secret=SECRET) as running:
        yield running


def hurry(sandbox: Sandbox) -> None:
    """Let it answer at once from now on."""
    assert sandbox._thread is not None
    sandbox._thread._server._routes._latency = 0.0


def write_people(folder: Path, fates: dict[str, str]) -> None:
    """Write the table; some rows have an address that calls for a fault, or is none."""
    with (folder / "people.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["id", "email"])
        table.writerows([key, fates.get(key, f"person{key}@letters.example")] for key in EVERY_KEY)


def test_a_campaign_with_everything_that_can_happen(
    open_notebook: Open, page: Page, lab: JupyterLab, sandbox: Sandbox, until: Until
) -> None:
    """Paused, attached to, stopped, gone on with, its kernel restarted, its table corrected: each email leaves once."""
    write_people(lab.work, FATES)
    (lab.work / "secret").write_text(SECRET, encoding="utf-8")
    (lab.work / "url").write_text(sandbox.base_url("v2"), encoding="utf-8")
    heard = listen(page)
    notebook = open_notebook("letters.ipynb", [SETUP, CONSOLE])
    notebook.run(0)
    panes = Panes(notebook.run(1))

    assert start(panes) == ROWS
    until(lambda: len(keys(sandbox.url)) >= 10)
    panes = pause_attach_and_resume(notebook, panes, sandbox, until)
    until(lambda: len(keys(sandbox.url)) >= 30)
    panes.press("Stop")
    panes.says("stopped")
    stopped = sandbox.requests_seen()
    assert 30 <= stopped < ROWS

    assert 0 < start(panes) < ROWS
    until(lambda: sandbox.requests_seen() >= stopped + 10)
    notebook.restart_kernel()
    panes = open_on_the_truth(notebook, sandbox)
    hurry(sandbox)
    assert 0 < start(panes) < ROWS - stopped
    panes.says(re.compile(r"^200 of 200 rows; .* over "))

    panes.open("Results")
    failures(panes)
    lost = settle(panes, set(keys(sandbox.url)))
    write_people(
        lab.work, {**FATES, "020": "b@letters.example", "140": "n@letters.example", "180": "d@letters.example"}
    )
    retry_the_corrected(panes, 3 + lost)

    assert keys(sandbox.url) == sorted(set(EVERY_KEY) - {"005"})
    assert heard
    assert not [message for message in heard if SECRET.encode() in message]


def test_what_is_typed_is_heard_before_the_click_that_follows(
    open_notebook: Open, lab: JupyterLab, sandbox: Sandbox, until: Until
) -> None:
    """A test goes to the address that has just been typed, though a cell keeps the kernel's main thread from listening.

    The fields were never written to by the kernel, the button was: its text follows the row that is previewed.
    """
    write_people(lab.work, {})
    (lab.work / "secret").write_text(SECRET, encoding="utf-8")
    (lab.work / "url").write_text(sandbox.base_url("v2"), encoding="utf-8")
    notebook = open_notebook("busy.ipynb", [SETUP, CONSOLE, BUSY])
    notebook.run(0)
    panes = Panes(notebook.run(1))
    panes.press("▶")
    panes.says(re.compile(r"^row 1 .*2 of 200"))
    panes.open("Send")
    notebook.begin(2)
    until((lab.work / "busy").exists)
    try:
        panes.field("Address").fill("me@letters.example")
        panes.press("Send a test of row 1")
        panes.says("row 1 to me@letters.example: sent")
    finally:
        (lab.work / "busy").unlink()
    assert [item["to"] for item in ledger(sandbox.url)] == ["me@letters.example"]


def listen(page: Page) -> list[bytes]:
    """Every message that the page gets from the kernel, from now on."""
    heard: list[bytes] = []

    def note(payload: str | bytes) -> None:
        heard.append(payload.encode() if isinstance(payload, str) else payload)

    page.on("websocket", lambda socket: socket.on("framereceived", note))
    return heard


def start(panes: Panes) -> int:
    """Count and start; tells how many emails were counted."""
    panes.open("Send")
    panes.press("Count what there is to send")
    panes.says(re.compile(r"up to \d+ emails? to send"))
    counted = re.search(r"up to (\d+) email", panes.text())
    assert counted
    panes.field("Type the number of emails").fill(counted[1])
    panes.says("ready")
    panes.press("Start")
    panes.says(re.compile(r"\d+ of 200 rows"))
    return int(counted[1])


def pause_attach_and_resume(notebook: Notebook, panes: Panes, sandbox: Sandbox, until: Until) -> Panes:
    """A paused run posts nothing until it is resumed, from a console that the same cell has opened anew."""
    panes.press("Pause")
    panes.button("Resume").wait_for()
    until(lambda: f"{sandbox.requests_seen()} of 200 rows" in panes.text())
    paused = sandbox.requests_seen()
    panes = Panes(notebook.run(1))
    panes.says("paused")
    panes.open("Send")
    panes.says(f"{paused} of 200 rows")
    assert sandbox.requests_seen() == paused
    panes.press("Resume")
    until(lambda: sandbox.requests_seen() > paused)
    return panes


def open_on_the_truth(notebook: Notebook, sandbox: Sandbox) -> Panes:
    """After a restart in mid-run the console tells of each email that left: sent, or in doubt."""
    notebook.run(0)
    panes = Panes(notebook.run(1))
    panes.open("Results")
    panes.says(re.compile(r"\d+ sent"))
    counts = {status: int(count) for count, status in re.findall(r"(\d+) (sent|in_doubt|pending)\b", panes.text())}
    left = len(keys(sandbox.url))
    assert counts["sent"] <= left <= counts["sent"] + counts.get("in_doubt", 0)
    assert counts["pending"] > 0
    return panes


def failures(panes: Panes) -> None:
    """What failed is listed with its reason, and can be filtered."""
    panes.says("2 rejected")
    panes.says("1 invalid")
    panes.choose("rejected")
    panes.says("1 to 2 of 2")
    panes.button("row 5").wait_for()
    panes.choose("all")
    panes.box("address, reason or key").fill("nobody")
    panes.box("address, reason or key").press("Enter")
    panes.says("1 to 1 of 1")
    panes.press("row 140")
    panes.says("makes no email: row 140")
    panes.open("Results")


def settle(panes: Panes, arrived: set[str]) -> int:
    """Look up what is in doubt: what arrived is found and sent. The rest is settled as pending; tells how many."""
    doubts = listed(panes)
    assert {"100", "180"} <= doubts
    assert len(doubts) <= CONCURRENCY + 2
    lost = doubts - arrived
    panes.press("Look them up")
    panes.says(re.compile(f"^Looked up {len(doubts)} emails: {len(doubts) - len(lost)} found, "))
    panes.lists(len(lost))
    assert listed(panes) == lost
    panes.doubts.select_option(sorted(lost))
    panes.press("Settle as pending")
    panes.press("Settle")
    panes.says(f"{len(lost)} settled as pending")
    panes.lists(0)
    return len(lost)


def listed(panes: Panes) -> set[str]:
    """The keys that are listed in doubt."""
    return set(panes.doubts.locator("option").all_text_contents())


def retry_the_corrected(panes: Panes, count: int) -> None:
    """Once the table is corrected, another run sends what failed or is pending; what was refused goes if it changed."""
    panes.press("Refresh")
    panes.press("Retry failed")
    panes.says(re.compile(f"up to {count} emails to send"))
    panes.field("Type the number of emails").fill(str(count))
    panes.says("ready")
    panes.press("Start")
    panes.says(re.compile(r"^200 of 200 rows; .* over "))
    panes.open("Results")
    panes.says("199 sent")
    panes.says("1 rejected")
    panes.says("done, with failures")
