"""The console in one process: its real widgets, a real campaign, a sandbox that answers."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import comm
import pytest
from comm.base_comm import BaseComm
from ipywidgets import widgets

import turbobatch as tb
from tests.integration.consoles import (
    EMAILS,
    PATIENCE,
    Opened,
    campaign,
    every_widget,
    held_by,
    is_there,
    people,
    shown,
    text_of,
)
from turbobatch.console.causes import MOST_CAUSES
from turbobatch.console.parts import painting
from turbobatch.console.results_state import PAGE
from turbobatch.console.send_state import Phase
from turbobatch.console.state import Form, Listed, Tab
from turbobatch.policy import Status
from turbobatch.run import RunState
from turbobatch.sandbox import Sandbox
from turbobatch.testing import FakeTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from tests.conftest import Until
    from turbobatch.console.kit import Lines
    from turbobatch.console.state import State
    from turbobatch.transport import Completion

pytestmark = pytest.mark.usefixtures("folder")

SAMPLES = Path(__file__).parents[2] / "sample_data"
A_LINE = 5  # models of a closed console: its frame, what it says, their layouts and a style
SLOWLY = "10/second"  # a run takes four seconds, unless it is stopped


@pytest.fixture
def slow() -> Iterator[Sandbox]:
    """A sandbox whose answers take long enough to press a button meanwhile."""
    with Sandbox(latency=0.05) as running:
        yield running


@pytest.fixture
def receipts(folder: Path) -> tb.Campaign:
    shutil.copytree(SAMPLES / "receipts", folder / "receipts")
    return tb.Campaign.load(folder / "receipts")


# The preview


def test_stepping_through_the_rows(receipts: tb.Campaign, sandbox: Sandbox) -> None:
    """Next, previous and the slider show each row's email as it will leave, in four forms."""
    opened = Opened(receipts, None, sandbox.client())
    opened.shows_row(0)
    pane = opened.view.preview
    assert pane.slider.max == 203
    assert "row 0 (line 2 of receipts.csv); 1 of 204" in text_of(pane.where)
    assert pane.back.disabled
    assert not pane.on.disabled
    pane.on.click()
    opened.shows_row(1)
    pane.slider.value = 203
    opened.shows_row(203)
    assert pane.on.disabled
    pane.back.click()
    opened.shows_row(202)
    assert '<iframe sandbox=""' in text_of(pane.body)
    assert "Your Acme receipt" in text_of(pane.head)
    for form, said in ((Form.TEXT, "Acme"), (Form.WIRE, "&quot;html_content&quot;"), (Form.CELLS, "order_id")):
        pane.form.value = form
        opened.view.paint()
        assert "<iframe" not in text_of(pane.body)
        assert said in text_of(pane.body)


def test_what_is_drawn_late_presses_nothing() -> None:
    """A view of a moment ago moves the widgets, not the state: that belongs to the user's hands alone."""
    opened = Opened(campaign(), people())
    before = opened.now
    opened.view.preview.slider.value = 9
    opened.shows_row(9)
    with painting():
        opened.view.preview.update(before)
        assert opened.view.preview.slider.value == 0
    assert opened.now.preview.place == 9
    opened.view.paint()
    assert opened.view.preview.slider.value == 9


def test_searching_and_stepping_through_what_is_found(receipts: tb.Campaign) -> None:
    """In one column; then all rows are there again."""
    opened = Opened(receipts)
    pane = opened.view.preview
    pane.column.value = "order_id"
    pane.text.value = "001042"
    opened.sees(lambda now: now.preview.searching is Phase.DONE)
    assert opened.now.preview.found == tuple(range(10, 20))
    opened.shows_row(10)
    assert pane.listed.value is Listed.FOUND
    pane.on.click()
    opened.shows_row(11)
    pane.listed.value = Listed.ALL
    opened.view.paint()
    assert (pane.slider.value, pane.slider.max) == (11, 203)
    pane.text.value = "nobody at all"
    opened.sees(lambda now: now.preview.searching is Phase.DONE)
    assert "no row holds &#x27;nobody at all&#x27;" in text_of(pane.notice)


def test_a_search_that_finds_nothing_stays_and_says_so() -> None:
    """After one that has found something: at the row that it has led to."""
    opened = Opened(campaign(), people())
    pane = opened.view.preview
    pane.text.value = "p 7"
    opened.shows_row(7)
    pane.text.value = "zzz"
    opened.sees(lambda now: now.preview.searching is Phase.DONE)
    opened.shows_row(7)
    assert "no row holds &#x27;zzz&#x27;" in text_of(pane.notice)
    assert "Dear P 7" in text_of(pane.body)
    pane.on.click()
    opened.shows_row(8)
    assert text_of(pane.notice) == ""


def test_what_a_cell_holds_is_shown_as_text() -> None:
    """Markup in cells, headers or a campaign's name doesn't become the page's."""
    evil = "<img src=x onerror=alert(1)>"
    opened = Opened(
        campaign(key="name"), people(3, name=[evil, "b", evil], email=["a@example.org", evil, "c@example.org"])
    )
    opened.shows_row(0)
    opened.view.check.check.click()
    opened.sees(lambda now: now.check.phase is Phase.DONE)
    opened.view.check.causes._buttons[0].click()
    opened.view.preview.form.value = Form.CELLS
    opened.view.preview.slider.value = 1
    opened.shows_row(1)
    shown = "".join(text_of(widget) for widget in every_widget(opened.view.widget) if hasattr(widget, "value"))
    assert "<img src=x" not in shown
    assert "&lt;img src=x" in shown


def test_refresh_shows_a_file_that_was_saved_since(folder: Path) -> None:
    """Its rows, and the one in view; the place is kept as far as it is there."""
    path = folder / "people.csv"
    people(20).to_csv(path, index=False)
    opened = Opened(campaign(), path)
    opened.view.preview.slider.value = 15
    opened.shows_row(15)
    people(10, name="New").to_csv(path, index=False)
    opened.view.refresh.click()
    opened.sees(lambda now: len(now.preview.rows) == 10)
    opened.shows_row(9)
    assert "Dear New" in text_of(opened.view.preview.body)
    opened.sees(lambda now: now.results.counts == {"pending": 10})


def test_a_file_that_was_saved_is_noticed_at_the_next_step(folder: Path, sandbox: Sandbox) -> None:
    """By a step, by a test, which sends nothing of either version, and by the plan."""
    path = folder / "people.csv"

    def save(count: int, name: str) -> None:
        people(count, name=name).to_csv(path, index=False)

    save(20, "Old")
    opened = Opened(campaign(), path, sandbox.client())
    pane = opened.view.preview
    opened.view.check.check.click()
    opened.sees(lambda now: now.check.phase is Phase.DONE)
    pane.slider.value = 15
    opened.shows_row(15)
    save(18, "Newer")
    pane.back.click()
    opened.sees(lambda now: len(now.preview.rows) == 18)
    opened.shows_row(14)
    assert "people.csv was changed: read anew" in text_of(pane.notice)
    assert "Dear Newer" in text_of(pane.body)
    assert "check again" in text_of(opened.view.check.notice)
    pane.on.click()
    opened.shows_row(15)
    assert text_of(pane.notice) == ""

    save(16, "Newest")
    opened.view.send.test_to.value = "me@example.org"
    opened.view.send.test.click()
    opened.sees(lambda now: now.send.testing is Phase.DONE)
    assert "people.csv was changed: read anew" in opened.now.send.tested
    assert not sandbox.messages()
    opened.sees(lambda now: len(now.preview.rows) == 16)
    opened.shows_row(15)
    assert "Dear Newest" in text_of(pane.body)

    save(10, "Last")
    opened.count()
    assert opened.now.send.plan is not None
    opened.sees(lambda now: len(now.preview.rows) == 10)
    opened.shows_row(9)
    assert "Dear Last" in text_of(pane.body)


def test_a_search_in_a_file_that_was_saved(folder: Path) -> None:
    """It ends and says why; the next one looks into the file as it is."""
    path = folder / "people.csv"
    people(20).to_csv(path, index=False)
    opened = Opened(campaign(), path)
    opened.shows_row(0)
    people(30).to_csv(path, index=False)
    pane = opened.view.preview
    pane.text.value = "p 25"
    opened.sees(lambda now: now.preview.searching is Phase.STOPPED)
    opened.sees(lambda now: len(now.preview.rows) == 30)
    assert "people.csv was changed: read anew" in text_of(pane.notice)
    pane.find.click()
    opened.shows_row(25)


def test_a_large_html_part_is_told_of() -> None:
    """And its text is shown in its place."""
    image = f'<img src="data:image/png;base64,{"A" * 600_000}">'
    message = tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject="s", text="Dear {{ name }}", html=image)
    opened = Opened(campaign(message=message), people(1))
    opened.shows_row(0)
    shown = text_of(opened.view.preview.body)
    assert "too much to be shown here" in shown
    assert "Dear P 0" in shown
    assert len(shown) < 1000


def test_a_search_for_nothing_ends_the_search() -> None:
    """All rows are there again, from where the search has led."""
    opened = Opened(campaign(), people())
    pane = opened.view.preview
    pane.text.value = "P 7"
    opened.shows_row(7)
    pane.text.value = ""
    opened.view.paint()
    assert (pane.listed.value, pane.slider.value, pane.slider.max) == (Listed.ALL, 7, EMAILS - 1)


# The check


def test_a_check_can_be_stopped() -> None:
    """What it has found by then stays."""
    opened = Opened(campaign(), people(20_000))
    pane = opened.view.check
    pane.check.click()
    assert opened.now.check.phase is Phase.BUSY
    pane.stop.click()
    opened.sees(lambda now: now.check.phase is Phase.STOPPED)
    assert opened.now.check.rows < 20_000
    assert "Stopped after" in text_of(pane.text)


def test_the_preview_tells_what_the_check_has_found(receipts: tb.Campaign) -> None:
    """That a duplicate, or a suppressed address, gets nothing: its email alone looks as good as any."""
    opened = Opened(receipts)
    opened.view.check.check.click()
    opened.sees(lambda now: now.check.phase is Phase.DONE)
    for row, said in (
        (160, "duplicate: same key as row 23"),
        (84, "suppressed: w.ostrowska@example.net is suppressed"),
    ):
        opened.view.preview.slider.value = row
        opened.shows_row(row)
        assert said in text_of(opened.view.preview.notice)
    opened.view.preview.slider.value = 85
    opened.shows_row(85)
    assert text_of(opened.view.preview.notice) == ""


def test_a_check_tells_what_it_couldnt_look_at() -> None:
    """Without credentials the vendor's suppression list is left out, and the rest is checked."""
    opened = Opened(campaign(suppress="vendor"), people(3))
    opened.view.check.check.click()
    now = opened.sees(lambda now: now.check.phase is Phase.DONE)
    assert now.check.notice.startswith("the vendor's suppression list wasn't looked at: no credentials: set ")
    assert now.check.notice.split(":")[0] in text_of(opened.view.check.notice).replace("&#x27;", "'")


def test_many_rows_of_one_cause_have_pages() -> None:
    """So do many failures."""
    opened = Opened(campaign(), people(30, email="b@@"))
    pane = opened.view.check
    pane.check.click()
    opened.sees(lambda now: now.check.phase is Phase.DONE)
    assert "1 to 12 of 30" in text_of(pane.pager._text)
    for _ in range(3):
        pane.pager._on.click()
    opened.view.paint()
    assert "25 to 30 of 30" in text_of(pane.pager._text)
    assert [button.description for button in shown(pane.rows)] == [f"row {row}" for row in range(24, 30)]
    pane.pager._back.click()
    opened.view.paint()
    assert [button.description for button in shown(pane.rows)] == [f"row {row}" for row in range(12, 24)]


def test_a_check_takes_any_address_and_counts_rows() -> None:
    """Apostrophes in bad addresses; two bad addresses in a row."""
    emails = ["s.o'neil@gmail", "m.o'neil@gmail", "p.o'brien@yahoo", "a@@x, b@@x"]
    opened = Opened(campaign(), people(4, email=emails))
    pane = opened.view.check
    pane.check.click()
    opened.sees(lambda now: now.check.phase is Phase.DONE)
    assert text_of(pane.notice) == ""
    assert "5 problems" in text_of(pane.text)
    assert "4 rows can&#x27;t be sent" in text_of(pane.text)
    counts = [button.description for button in shown(pane.causes)]
    assert counts == ["4 rows"]
    assert [button.description for button in shown(pane.rows)] == [f"row {row}" for row in range(4)]


def test_a_check_by_cause_and_one_click_to_the_row(receipts: tb.Campaign) -> None:
    """Problems are grouped; a cause lists its rows; a row's button shows its preview."""
    opened = Opened(receipts)
    pane = opened.view.check
    opened.view.tabs.selected_index = int(Tab.CHECK)
    pane.check.click()
    opened.sees(lambda now: now.check.phase is Phase.DONE)
    assert "Checked all 204 rows: 8 problems of 6 kinds; 5 rows can&#x27;t be sent." in text_of(pane.text)
    causes = opened.now.check.causes
    place = next(place for place, cause in enumerate(causes) if "email not valid" in cause.text)
    assert pane.causes._buttons[place].description == "2 rows"
    pane.causes._buttons[place].click()
    opened.view.paint()
    assert [button.description for button in pane.rows._buttons[:2]] == ["row 68", "row 131"]
    pane.rows._buttons[1].click()
    opened.shows_row(131)
    assert opened.view.tabs.selected_index == int(Tab.PREVIEW)
    assert "&#x27;broken2@@@Address2.@@222&#x27; &#x27;to&#x27; email not valid" in text_of(opened.view.preview.head)
    opened.view.preview.listed.value = Listed.PROBLEMS
    opened.view.paint()
    assert opened.view.preview.slider.max == 7


# Sending


def test_start_takes_the_typed_count(sandbox: Sandbox) -> None:
    """Nothing is sent before; all of it after; the results are there by themselves."""
    opened = Opened(campaign(), people(), sandbox.client())
    pane = opened.view.send
    pane.start.click()
    assert opened.now.send.notice == "count first what there is to send"
    opened.count()
    assert "Through</div>" in text_of(pane.facts)
    assert opened.now.host == sandbox.client().host
    for typed in ("", "39", "forty", "400"):
        pane.typed.value = typed
        opened.view.paint()
        assert pane.start.disabled
        pane.start.click()
    assert sandbox.requests_seen() == 0
    pane.typed.value = "40"
    opened.view.paint()
    assert not pane.start.disabled
    pane.start.click()
    now = opened.ends()
    assert now.results.counts == {"sent": EMAILS}
    assert sorted(sandbox.inbox()["subject"]) == sorted(f"Order {n}" for n in range(EMAILS))
    assert f"{EMAILS} sent" in text_of(pane.counts)
    assert (pane.typed.value, pane.start.disabled) == ("", True)


@pytest.mark.unmeasured
def test_a_double_click_starts_one_run(slow: Sandbox) -> None:
    """From two threads at once too, as some kernels call handlers."""
    opened = Opened(campaign(), people(), slow.client())
    opened.count()
    opened.view.send.typed.value = str(EMAILS)
    gate = threading.Barrier(4)

    def press() -> None:
        gate.wait()
        opened.view.send.start.click()

    threads = [threading.Thread(target=press) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened.ends().results.counts == {"sent": EMAILS}
    assert slow.requests_seen() == EMAILS
    assert opened.now.send.notice == ""


def run_state(opened: Opened) -> RunState | None:
    progress = opened.now.send.progress
    return progress.state if progress is not None else None


def test_pause_resume_stop(slow: Sandbox) -> None:
    """Each is heard at once; after Stop what isn't sent is pending, and another start sends the rest."""
    opened = Opened(campaign(), people(), slow.client())
    pane = opened.view.send
    pane.rate.value = SLOWLY
    opened.start()
    opened.sees(lambda now: now.send.progress is not None and now.send.progress.done >= 2)
    pane.pause.click()
    assert run_state(opened) is RunState.PAUSED
    opened.view.paint()
    assert (pane.pause.layout.display, pane.resume.layout.display) == ("none", None)
    assert "paused" in text_of(opened.view.head)
    pane.resume.click()
    assert run_state(opened) is RunState.RUNNING
    pane.stop.click()
    assert run_state(opened) in {RunState.STOPPING, RunState.STOPPED}
    now = opened.ends()
    sent = slow.requests_seen()
    assert 2 <= sent < EMAILS
    assert now.results.counts == {"sent": sent, "pending": EMAILS - sent}
    assert "stopped by the user: the rest is pending; count again and start to go on" in text_of(pane.ended)
    pane.rate.value = ""
    opened.start()
    assert opened.ends().results.counts == {"sent": EMAILS}
    assert slow.requests_seen() == EMAILS


def test_run_again_the_cell_finds_the_run(slow: Sandbox) -> None:
    """The new console shows and steers it; the old one has given way, and neither starts another."""
    client = slow.client()
    first = Opened(campaign(rate=SLOWLY), people(), client)
    first.start()
    second = Opened(campaign(rate=SLOWLY), people(), client)
    now = second.sees(lambda now: now.send.running)
    assert not second.view.send.running.layout.display
    assert "Another console" in text_of(first.view.widget.children[0])
    assert second.view.send.plan.disabled
    second.view.send.stop.click()
    now = second.ends()
    assert now.results.counts == {"sent": slow.requests_seen(), "pending": EMAILS - slow.requests_seen()}
    second.view.send.rate.value = ""
    second.start()
    assert second.ends().results.counts == {"sent": EMAILS}
    assert slow.requests_seen() == EMAILS


def test_a_run_that_a_cell_has_started_meanwhile(slow: Sandbox) -> None:
    """Start says why it can't, and shows the run that is in progress."""
    orders, client = campaign(rate=SLOWLY), slow.client()
    opened = Opened(orders, people(), client)
    opened.count()
    run = orders.start(people(), client)
    opened.view.send.typed.value = str(EMAILS)
    opened.view.send.start.click()
    opened.sees(lambda now: now.send.running and "in progress" in now.send.notice)
    opened.sees(lambda now: now.send.progress is not None and now.send.progress.done > 0)
    opened.view.send.stop.click()
    sent = opened.ends().results.counts["sent"]
    assert run.wait(PATIENCE)
    assert slow.requests_seen() == sent < EMAILS


@pytest.mark.unmeasured
def test_the_next_run_has_a_plot_and_a_pace_of_its_own(slow: Sandbox) -> None:
    """Also where a cell has begun it, and the console finds it."""
    orders, client = campaign(), slow.client()
    opened = Opened(orders, people(), client)
    opened.start()
    opened.ends()
    old = opened.now.send.samples
    assert old[-1].rows > 0
    run = orders.paced(rate="2/second", concurrency=1).start(people(2 * EMAILS), client)
    opened.view.refresh.click()
    now = opened.sees(lambda now: now.send.running and now.send.progress is not None)
    assert not set(old) & set(now.send.samples)
    assert now.send.ended == ""
    assert "-" not in text_of(opened.view.send.run_text).split("rows/s")[0].split(";")[-1]
    run.stop()
    opened.ends()


@pytest.mark.parametrize("press", ["pane", "count", "read"])
def test_a_run_that_a_cell_has_begun_is_noticed_by_the_next_press(slow: Sandbox, press: str) -> None:
    """Of any pane or button that tells of the campaign."""
    orders, client = campaign(rate=SLOWLY), slow.client()
    opened = Opened(orders, people(), client)
    run = orders.start(people(), client)
    match press:
        case "pane":
            opened.view.tabs.selected_index = Tab.SEND
        case "count":
            opened.view.send.plan.click()
        case "read":
            opened.view.results.read.click()
    opened.sees(lambda now: now.send.running)
    assert opened.view.send.plan.disabled
    run.stop()
    opened.ends()


def test_a_count_can_be_stopped(sandbox: Sandbox) -> None:
    """Nothing is planned then; the next count is whole."""
    opened = Opened(campaign(), people(20_000), sandbox.client())
    pane = opened.view.send
    opened.view.paint()
    assert not is_there(pane.stop_plan)
    pane.plan.click()
    opened.view.paint()
    assert is_there(pane.stop_plan)
    pane.stop_plan.click()
    now = opened.sees(lambda now: now.send.planning is Phase.STOPPED)
    assert (now.send.plan, now.send.notice) == (None, "")
    assert not is_there(pane.stop_plan)
    opened.count()
    assert "20,000 emails" in text_of(pane.plan_text)


def test_the_consoles_own_count_is_nobody_elses(sandbox: Sandbox) -> None:
    """What is read while the count writes is read once it has ended."""
    campaign().send(people(3), sandbox.client(), progress=False)  # there is a journal to hold
    opened = Opened(campaign(), people(20_000), sandbox.client())
    opened.view.send.plan.click()
    opened.sees(lambda now: now.send.read > 0)
    opened.view.results.read.click()
    opened.sees(lambda now: now.send.planning is Phase.DONE)
    now = opened.sees(lambda now: now.results.phase is Phase.DONE)
    assert not now.results.in_use
    assert "in use elsewhere" not in text_of(opened.view.head)


def test_a_consent_of_its_own_where_the_plan_objects(sandbox: Sandbox) -> None:
    """Emails that look as if they had left: the typed count alone doesn't start them."""
    client = sandbox.client()
    campaign().send(people(6), client, progress=False)
    opened = Opened(campaign(), people(6, id=[f"new {n}" for n in range(6)]), client)
    opened.count()
    pane = opened.view.send
    assert "6 emails of this campaign have left" in text_of(pane.facts)
    assert pane.accept.layout.display is None
    pane.typed.value = "6"
    pane.start.click()
    opened.view.paint()
    assert (pane.start.disabled, sandbox.requests_seen()) == (True, 6)
    assert "tick that the emails are to be sent all the same" in text_of(pane.hint)
    opened.count()
    pane.typed.value = "6"
    pane.accept.value = True
    pane.start.click()
    opened.sees(lambda now: now.send.running or now.send.progress is not None)
    opened.ends()
    assert sandbox.requests_seen() == 12
    assert not pane.accept.value


def test_the_pace_that_was_typed_is_kept(slow: Sandbox) -> None:
    """Rate, concurrency and the most emails go with this run; the campaign itself stays as it is."""
    orders = campaign()
    opened = Opened(orders, people(), slow.client())
    pane = opened.view.send
    pane.rate.value, pane.concurrency.value = "abc", "3"
    opened.view.paint()
    assert "rate &#x27;abc&#x27;" in text_of(pane.hint)
    pane.rate.value, pane.limit.value = "100/second", "5"
    opened.count()
    assert "up to 5 emails to send" in text_of(pane.plan_text)
    pane.typed.value = "5"
    pane.start.click()
    opened.sees(lambda now: now.send.progress is not None and not now.send.starting)
    assert opened.ends().results.counts == {"sent": 5, "pending": EMAILS - 5}
    assert (orders.concurrency, orders.limits) == (2, ())


def test_a_test_of_the_row_that_is_shown(sandbox: Sandbox) -> None:
    """To one's own address, outside the journal; a bad address is told in a line."""
    opened = Opened(campaign(), people(), sandbox.client())
    opened.view.preview.slider.value = 7
    opened.shows_row(7)
    pane = opened.view.send
    assert pane.test.description == "Send a test of row 7"
    for address, said in (
        ("", "type your own address first"),
        ("me@@", "&#x27;me@@&#x27; is no address to send a test to"),
        ("me@example.org", "row 7 to me@example.org: sent"),
    ):
        pane.test_to.value = address
        pane.test.click()
        opened.sees(lambda now: now.send.testing is Phase.DONE)
        assert said in text_of(pane.tested)
    (message,) = sandbox.messages()
    assert (message["subject"], message["to"]) == ("Order 7", "me@example.org")
    assert opened.now.results.counts == {"pending": EMAILS}


def test_credentials_of_the_environment(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are found as everywhere else; the header names the host before anything is counted."""
    monkeypatch.setenv("TURBOSMTP_AUTHUSER", "sandbox")
    monkeypatch.setenv("TURBOSMTP_AUTHPASS", "sandbox")
    monkeypatch.setenv("TURBOSMTP_BASE_URL", sandbox.base_url("v1"))
    opened = Opened(campaign(), people())
    assert sandbox.client().host in text_of(opened.view.head)
    opened.view.preview.form.value = Form.WIRE
    opened.start()
    assert opened.ends().results.counts == {"sent": EMAILS}
    assert {message["api"] for message in sandbox.messages()} == {"v1"}
    opened.console.close()


def test_without_credentials_it_says_so() -> None:
    """Preview and check work all the same."""
    opened = Opened(campaign(), people())
    opened.shows_row(0)
    opened.count()
    assert "no credentials: set TURBOSMTP_CONSUMER_KEY" in text_of(opened.view.send.notice)
    opened.view.check.check.click()
    opened.sees(lambda now: now.check.phase is Phase.DONE)
    assert opened.now.check.problems == 0


def test_a_run_that_ends_early_says_why(sandbox: Sandbox) -> None:
    """In the pane, with what to do about it."""
    stranger = tb.TurboClient(consumer_key="nobody", consumer_secret="nothing", base_url=sandbox.base_url("v2"))
    opened = Opened(campaign(), people(), stranger)
    opened.start()
    assert opened.ends().results.counts == {"pending": EMAILS}
    assert "check them and count again and start" in text_of(opened.view.send.ended)
    assert "stopped" in text_of(opened.view.head)
    stranger.close()


def test_a_run_that_breaks_says_so() -> None:
    """Whatever broke it, nothing of its text is shown: it may hold anything."""

    class Broken(FakeTransport):
        def poll(self, timeout: float) -> list[Completion]:  # noqa: ARG002 - every transport's
            raise RuntimeError("a secret cell")

    client = tb.TurboClient(consumer_key="k", consumer_secret="s", transport=lambda _places: Broken())
    opened = Opened(campaign(), people(), client)
    opened.start()
    now = opened.ends()
    assert "unexpected RuntimeError" in text_of(opened.view.send.ended)
    assert "secret" not in text_of(opened.view.send.ended)
    assert now.results.counts == {"pending": EMAILS}


def test_a_closed_console_leaves_the_run_alone(slow: Sandbox) -> None:
    """It shows nothing more; another one finds the run."""
    orders, client = campaign(rate=SLOWLY), slow.client()
    opened = Opened(orders, people(), client)
    opened.start()
    opened.console.close()
    assert "Closed." in text_of(opened.view.widget.children[0])
    assert orders.running is not None
    assert "A run is in progress: <Run running: " in repr(opened.console)
    another = Opened(orders, people(), client)
    another.sees(lambda now: now.send.running)
    another.view.send.stop.click()
    another.ends()


def test_a_console_that_was_replaced_can_be_shown_again(slow: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the account of the environment too; what was typed for a start wants to be typed again."""
    monkeypatch.setenv("TURBOSMTP_AUTHUSER", "sandbox")
    monkeypatch.setenv("TURBOSMTP_AUTHPASS", "sandbox")
    monkeypatch.setenv("TURBOSMTP_BASE_URL", slow.base_url("v1"))
    orders = campaign(rate=SLOWLY)
    first = Opened(orders, people())
    first.count()
    first.view.send.limit.value = "30"
    first.view.send.typed.value = "30"
    second = Opened(orders, people())
    assert "Another console" in text_of(first.view.widget.children[0])
    assert "application/vnd.jupyter.widget-view+json" in first.console._repr_mimebundle_()
    assert "Another console" in text_of(second.view.widget.children[0])
    first.view = first.console.view
    first.view.paint()
    pane = first.view.send
    assert (pane.limit.value, pane.typed.value, pane.start.disabled) == ("30", "", True)
    pane.limit.value = ""
    first.start()
    first.sees(lambda now: now.send.progress is not None and now.send.progress.done > 0)
    pane.stop.click()
    assert first.ends().results.counts["sent"] == slow.requests_seen()
    first.console.close()


@pytest.mark.unmeasured
def test_a_cell_that_runs_again_leaves_few_models(sandbox: Sandbox) -> None:
    """The console that gives way takes its widgets, their layouts and their styles with it, but for a line."""
    orders, client = campaign(), sandbox.client()
    held = []
    for _ in range(4):
        lists_problems(Opened(orders, broken(30), client))
        held.append(len(models()))
    assert held[3] - held[0] <= 3 * A_LINE


def test_a_console_makes_few_models(until: Until) -> None:
    """Fewer than a page's queues hold; lists that are as long as they get are no exception."""
    before = len(models())
    opened = Opened(campaign(), people())
    assert len(models()) - before < 200

    def is_full(lines: Lines, length: int) -> bool:
        with painting():
            lines.fill([(place, f"row {place}", "text") for place in range(length)])
        return len(shown(lines)) == length  # unless the console has painted what it knows since

    until(lambda: is_full(opened.view.check.causes, MOST_CAUSES + 1))
    until(lambda: is_full(opened.view.check.rows, PAGE))
    until(lambda: is_full(opened.view.results.failures, PAGE))
    assert len(models()) - before < 350
    opened.console.close()
    assert len(models()) - before <= A_LINE


def test_a_cell_that_runs_again_sends_few_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """The queues between kernel and page hold a thousand; what is over may get lost, and the page shows an error."""
    sent: list[str] = []

    class Counted(BaseComm):
        def publish_msg(self, msg_type: str, *_: Any, **__: Any) -> None:
            sent.append(msg_type)

    monkeypatch.setattr(comm, "create_comm", Counted)
    orders = campaign()
    Opened(orders, people())
    del sent[:]
    Opened(orders, people())
    assert sent.count("comm_open") > 100
    assert sent.count("comm_close") > 100
    assert len(sent) < 500


def test_what_is_hidden_hides_nothing_else() -> None:
    """Widgets of one look share it, but for whether they are shown."""
    pane = Opened(campaign(), people()).view.send
    alike = (pane.pause, pane.resume, pane.stop)
    assert [is_there(button) for button in (*alike, pane.plan, pane.start)] == [False, False, False, True, True]
    pane._kit.show(pane.stop, on=True)
    assert [is_there(button) for button in (*alike, pane.plan, pane.start)] == [False, False, True, True, True]
    assert pane.stop.layout is pane.plan.layout
    pane._kit.show(pane.plan, on=False)
    assert [is_there(button) for button in (*alike, pane.plan, pane.start)] == [False, False, True, False, True]


def test_a_console_that_is_closed_leaves_the_other_ones_models() -> None:
    """Two campaigns in one notebook: each console has its own."""
    one, other = Opened(campaign(), broken(3)), Opened(campaign(name="others"), broken(3))
    lists_problems(other)
    looks = {look for widget in every_widget(other.view.widget) for look in (widget, widget.layout)}
    looks |= {widget.style for widget in every_widget(other.view.widget) if widget.has_trait("style")}
    one.console.close()
    assert [look for look in looks if look.comm is None] == []
    other.view.check.rows._buttons[0].click()
    other.shows_row(0)


def test_refresh_makes_the_lines_of_lists_anew() -> None:
    """In the thread of the click: Colab knows nothing of a widget that another thread has made."""
    opened = Opened(campaign(), broken(3))
    made_at_first = models()
    lists_problems(opened)
    pane, before = opened.view.check, len(models())
    lines = shown(pane.rows)
    assert made_at_first.keys() >= {look.model_id for line in lines for look in (line.layout, line.style)}
    opened.view.refresh.click()
    assert [line.comm for line in lines] == [None, None, None]
    assert [line.description for line in shown(pane.rows)] == ["row 0", "row 1", "row 2"]
    assert len(models()) == before
    shown(pane.rows)[2].click()
    opened.shows_row(2)


def broken(count: int) -> pd.DataFrame:
    """Rows that make no email, for one cause."""
    return people(count, email=["nobody@"] * count)


def lists_problems(opened: Opened) -> None:
    """Check all rows, and list those of the first cause."""
    opened.view.check.check.click()
    opened.sees(lambda now: now.check.phase is Phase.DONE)
    shown(opened.view.check.causes)[0].click()
    opened.view.paint()


# Results


def test_the_count_tells_what_was_refused(sandbox: Sandbox) -> None:
    """Nothing leaves of what is as it was."""
    opened = Opened(campaign(), people(5, email="reject@example.org"), sandbox.client())
    opened.start()
    assert opened.ends().results.counts == {"rejected": 5}
    opened.count()
    said = text_of(opened.view.send.plan_text)
    assert "up to 5 emails to send; 5 were refused before: sent again only if the email has changed" in said


def test_failures_are_filtered_and_tried_again(sandbox: Sandbox) -> None:
    """Retry counts anew and waits for the typed count; what was mended leaves, and nothing else does."""
    frame = people(5, email=["a@example.org", "b@@", "c@example.org", None, "e@example.org"])
    orders, client = campaign(), sandbox.client()
    opened = Opened(orders, frame, client)
    opened.start()
    assert opened.ends().results.counts == {"sent": 3, "invalid": 2}
    pane = opened.view.results
    pane.search.value = "b@@"
    opened.view.paint()
    assert [button.description for button in shown(pane.failures)] == ["row 1"]
    pane.status.value = "rejected"
    opened.view.paint()
    assert shown(pane.failures) == []
    mended = Opened(
        orders, people(5, email=["a@example.org", "b@example.org", "c@example.org", None, "e@example.org"]), client
    )
    assert not mended.view.results.retry.disabled
    mended.view.results.retry.click()
    mended.sees(lambda now: now.send.planning is Phase.DONE)
    assert mended.view.tabs.selected_index == int(Tab.SEND)
    plan = mended.now.send.plan
    assert plan is not None
    assert (plan.emails, sandbox.requests_seen()) == (2, 3)
    mended.view.send.typed.value = "2"
    mended.view.send.start.click()
    mended.sees(lambda now: now.send.progress is not None and not now.send.starting)
    assert mended.ends().results.counts == {"sent": 4, "invalid": 1}
    assert sandbox.requests_seen() == 4


def models() -> dict[str, Any]:
    """All models that the kernel holds for the page, by their ids."""
    return dict(widgets.widget._instances)


def test_doubts_are_settled_after_a_question() -> None:
    """Chosen ones alone, once the question is answered; those settled as pending leave with the next start."""
    with Sandbox(faults=["reset-after:100%"]) as broken:
        opened = Opened(campaign(), people(3), broken.client())
        opened.start()
        now = opened.ends()
    assert now.results.in_doubt >= 1
    assert opened.view.results.in_doubt.layout.display is None
    before = now.results.in_doubt
    pane = opened.view.results
    pane.as_pending.click()
    opened.view.paint()
    assert "choose the emails to settle first" in text_of(pane.notice)
    key = now.results.doubts[0]
    assert pane.doubts.options[0] == (key, 0)
    pane.doubts.value = (0,)
    pane.as_pending.click()
    opened.view.paint()
    assert "may arrive twice" in text_of(pane.question)
    assert opened.now.results.in_doubt == before
    pane.yes.click()
    now = opened.sees(lambda now: now.results.in_doubt == before - 1)
    assert key not in now.results.doubts
    pane.all.click()
    pane.as_sent.click()
    pane.yes.click()
    opened.sees(lambda now: not now.results.in_doubt)
    assert opened.now.results.counts.get(Status.SENT, 0) == before - 1


def test_what_isnt_in_doubt_any_more_cant_be_chosen() -> None:
    """A click on a list that is out of date neither settles anything nor keeps the console from being drawn."""
    with Sandbox(faults=["reset-after:100%"]) as broken:
        opened = Opened(campaign(), people(3), broken.client())
        opened.start()
        opened.ends()
    known = opened.now.results.doubts
    opened.console._actions.results.choose((known[0], "gone"))
    opened.view.paint()
    assert opened.now.results.chosen == (known[0],)
    assert opened.view.results.doubts.value == (0,)


def test_a_view_that_cant_be_drawn_says_so_and_leaves_the_run_alone(
    slow: Sandbox, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, until: Until
) -> None:
    """In the head, and once in the log; what can be drawn again is."""
    opened = Opened(campaign(rate=SLOWLY), people(), slow.client())
    opened.start()
    head = opened.view.head

    def break_down(_: State) -> None:
        raise KeyError("secret")

    with monkeypatch.context() as broken:
        broken.setattr(opened.view.check, "update", break_down)
        until(lambda: "may be out of date: unexpected KeyError" in text_of(head))
        assert "secret" not in text_of(head)
    until(lambda: "out of date" not in text_of(head))
    assert len([record for record in caplog.records if "can't be drawn" in record.message]) == 1
    opened.view.send.stop.click()
    assert "unexpected" not in opened.ends().send.ended


def test_when_rejected_rows_are_tried_again_is_told() -> None:
    """Where nothing else has failed: a retry alone changes nothing."""
    with Sandbox(faults=["reject:100%"]) as refusing:
        opened = Opened(campaign(), people(3), refusing.client())
        assert text_of(opened.view.results.why) == ""
        opened.start()
        opened.ends()
    pane = opened.view.results
    assert opened.now.results.counts == {"rejected": 3}
    assert not pane.retry.disabled
    assert "tried again once their email has changed" in text_of(pane.why)


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
def test_export(sandbox: Sandbox, folder: Path, ending: str) -> None:
    """The drop-down picks the format; the file has every row."""
    opened = Opened(campaign(), people(), sandbox.client())
    pane = opened.view.results
    pane.format.value = ending
    assert pane.path.value == f"orders-results{ending}"
    pane.export.click()
    opened.sees(lambda now: now.results.exporting is not Phase.BUSY)
    assert "40 rows written to" in text_of(pane.answer)
    assert list(tb.read_report(folder / f"orders-results{ending}")["send_status"]) == ["pending"] * EMAILS


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("", "name a file to write"),
        ("nowhere/x.csv", "there is no folder"),
        ("x.doc", "there is no report format"),
        ("receipts/receipts.csv", "is a file of the campaign itself"),
        ("~no such user/x.csv", "names no file"),
        ("x\0.csv", "can't hold a NUL"),
        ("\ud800.csv", "names no file"),
    ],
)
def test_an_export_that_cant_be_written(receipts: tb.Campaign, folder: Path, path: str, said: str) -> None:
    """One line, and no file is touched."""
    before = {item: item.read_bytes() for item in folder.rglob("*") if item.is_file()}
    opened = Opened(receipts)
    opened.view.results.path.value = path
    opened.view.results.export.click()
    opened.sees(lambda now: now.results.exporting is Phase.STOPPED)
    assert said in opened.now.results.notice
    assert {item: item.read_bytes() for item in folder.rglob("*") if item.is_file()} == before


def exports_to(opened: Opened, path: str) -> str:
    """Export, and return what is said of it."""
    opened.view.results.path.value = path
    opened.view.results.export.click()
    now = opened.sees(lambda now: now.results.exporting is not Phase.BUSY).results
    return now.notice or now.answer


def test_an_export_never_replaces_the_consoles_own_table(folder: Path) -> None:
    """However its path is written, and also where the campaign has another table, or none."""
    table = folder / "orders.csv"
    people().to_csv(table, index=False)
    before = table.read_bytes()
    opened = Opened(campaign(), "orders.csv")
    for path in ("orders.csv", "./orders.csv", str(table)):
        assert "is a file of the campaign itself" in exports_to(opened, path)
    assert table.read_bytes() == before


def test_an_export_asks_before_it_replaces_a_file(folder: Path) -> None:
    """Another's file stays until the question is answered; the console's own export is replaced as it is."""
    (folder / "taken.csv").write_text("somebody's")
    opened = Opened(campaign(), people())
    pane = opened.view.results
    assert not is_there(pane.replacing)
    assert exports_to(opened, "taken.csv") == ""
    assert is_there(pane.replacing)
    assert "taken.csv is there already" in text_of(pane.there)
    pane.keep.click()
    opened.view.paint()
    assert not is_there(pane.replacing)
    assert (folder / "taken.csv").read_text() == "somebody's"
    exports_to(opened, "taken.csv")
    pane.replace.click()
    opened.sees(lambda now: now.results.exporting is Phase.DONE)
    assert len(tb.read_report(folder / "taken.csv")) == EMAILS
    assert "40 rows written" in exports_to(opened, "taken.csv")


def test_an_export_lies_beside_the_journal_and_its_ending_follows_the_format(folder: Path) -> None:
    """A name's own dots stay, and what is no file's name stays as it is."""
    (folder / "kept").mkdir()
    opened = Opened(campaign(journal="kept/orders.db"), people())
    pane = opened.view.results
    assert pane.path.value == "kept/orders-results.csv"
    endings = [".parquet", ".csv"]
    for path, made in (("/", "/"), ("results.2026", "results.2026.parquet"), ("a/b.CSV", "a/b.parquet"), ("", "")):
        pane.format.value = endings[1]
        pane.path.value = path
        pane.format.value = endings[0]
        assert pane.path.value == made


def test_an_export_for_excel(folder: Path) -> None:
    """The tick makes formulas harmless; formats that know text from formulas don't have it."""
    opened = Opened(campaign(), people(name=["=1+1"] * EMAILS))
    pane = opened.view.results
    assert "40 rows" in exports_to(opened, "plain.csv")
    pane.for_excel.value = True
    assert "40 rows" in exports_to(opened, "excel.csv")
    assert ",=1+1," in (folder / "plain.csv").read_text()
    assert ",'=1+1," in (folder / "excel.csv").read_text("utf-8-sig")
    pane.format.value = ".parquet"
    assert pane.for_excel.layout.display == "none"
    assert "40 rows" in exports_to(opened, pane.path.value)


# What there is without a page


@pytest.mark.unmeasured
def test_a_new_kernel_opens_on_what_the_journal_says(slow: Sandbox) -> None:
    """After a run that ended in its middle, another process's console knows what is sent and what isn't."""
    client = slow.client()
    run = campaign(rate=SLOWLY).start(people(), client)
    while not run.wait(0.01) and run.progress.done < 2:
        pass
    run.stop()
    run.wait(PATIENCE)
    sent = slow.requests_seen()
    opened = Opened(campaign(), people(), client)
    assert opened.now.results.counts == {"sent": sent, "pending": EMAILS - sent}
    assert "partly sent" in text_of(opened.view.head)
    opened.start()
    assert opened.ends().results.counts == {"sent": EMAILS}
    assert slow.requests_seen() == EMAILS


def test_plain_text_where_there_are_no_widgets(sandbox: Sandbox) -> None:
    """The journal's counts, and what to call instead; credentials are nowhere in it."""
    client = sandbox.client()
    console = tb.Console(campaign(), people(3), client)
    assert repr(console) == (
        "Campaign 'orders', journal orders.journal.db\nEmails in the journal: none\n"
        "The console needs a notebook with widgets; without: campaign.check(), campaign.send()"
    )
    campaign().send(people(3), client, progress=False)
    assert "Emails in the journal: 3 sent" in repr(console)
    bundle = console._repr_mimebundle_()
    assert bundle["text/plain"] == repr(console)
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_a_table_that_cant_be_read_is_told_in_each_pane() -> None:
    """The console opens all the same."""
    opened = Opened(campaign(), "no.csv")
    assert "no.csv doesn&#x27;t exist" in text_of(opened.view.preview.notice)
    assert "no.csv doesn&#x27;t exist" in text_of(opened.view.results.notice)
    opened.view.check.check.click()
    opened.sees(lambda now: now.check.phase is Phase.STOPPED)
    assert "no.csv doesn&#x27;t exist" in text_of(opened.view.check.notice)


def test_no_secret_is_in_any_widget(sandbox: Sandbox) -> None:
    """Nor in the console's texts."""
    with Sandbox(consumer_key="K3yFm4Ht", consumer_secret="S3cr3tBn8Lg") as guarded:
        opened = Opened(campaign(), people(4), guarded.client())
        opened.view.preview.form.value = Form.WIRE
        opened.start()
        opened.ends()
    states = [str(widget.get_state()) for widget in every_widget(opened.view.widget)]
    texts = "".join([*states, repr(opened.console), repr(opened.now)])
    assert "K3yFm4Ht" not in texts
    assert "S3cr3tBn8Lg" not in texts
    assert sandbox.requests_seen() == 0


def test_threads_end_when_nothing_goes_on(sandbox: Sandbox, until: Until) -> None:
    """An open console that does nothing costs nothing."""
    before = set(threading.enumerate())
    opened = Opened(campaign(), people(), sandbox.client())
    opened.start()
    opened.ends()
    until(lambda: not [thread for thread in set(threading.enumerate()) - before if "turbobatch" in thread.name])


# Masked addresses


def test_addresses_can_be_masked_in_every_pane(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """What the widgets hold is saved with the notebook: with the one setting it names nobody."""
    monkeypatch.setattr(tb.options, "mask_addresses", True)
    emails = ["anna.rossi@example.org", "anna.rossi@@example.org", "anna.rossi@example.org"]
    message = tb.MailMerge(
        from_="Acme <shop@acme.example>", to="{{ email }}", subject="To {{ email }}", text="{{ email }}",
        html="<p>{{ email }}</p>",
    )  # fmt: skip
    opened = Opened(campaign(message=message), people(3, email=emails), sandbox.client())
    opened.view.check.check.click()
    opened.sees(lambda now: now.check.phase is Phase.DONE)
    opened.start()
    opened.ends()
    for row in (0, 1):
        opened.view.preview.slider.value = row
        opened.shows_row(row)
        for form in Form:
            opened.view.preview.form.value = form
            opened.view.paint()
            held = [str(value) for value in held_by(opened.view.widget)]
            assert any("a…@example.org" in text for text in held)
            assert not [text for text in held if "anna" in text]


def test_masked_keys_can_be_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where two of them look alike."""
    monkeypatch.setattr(tb.options, "mask_addresses", True)
    emails = ["anna.rossi@example.org", "anna.bianchi@example.org"]
    with Sandbox(faults=["reset-after:100%"]) as broken:
        opened = Opened(campaign(key="email", concurrency=1), people(2, email=emails), broken.client())
        opened.start()
        opened.ends()
        if opened.now.results.in_doubt < len(emails):
            opened.start()
            opened.ends()
    doubts = opened.now.results.doubts
    assert sorted(doubts) == sorted(emails)
    pane = opened.view.results
    assert [label for label, _ in pane.doubts.options] == ["a…@example.org"] * 2
    assert not [value for value in held_by(opened.view.widget) if "anna" in str(value)]
    pane.doubts.value = (1,)
    pane.as_sent.click()
    pane.yes.click()
    now = opened.sees(lambda now: now.results.in_doubt == 1)
    assert now.results.doubts == (doubts[0],)
