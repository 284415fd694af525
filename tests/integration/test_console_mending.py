"""The console after trouble: what is in doubt is looked up, what failed is written, corrected and opened again."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb
from tests.integration.consoles import Opened, campaign, held_by, is_there, people, shown, text_of
from turbobatch.console.send_state import Phase
from turbobatch.console.state import Form
from turbobatch.policy import Policy, Status
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from turbobatch.console.state import State

pytestmark = pytest.mark.usefixtures("folder")

PATIENT = Policy(first_wait=0.01, longest_wait=0.02, first_patience=60, patience=60, threshold=10_000)
LOST = ["ana@example.org", "reset-after@example.org", "reset-before@example.org"]  # the second one has arrived


def sent(emails: Sequence[str | None], client: tb.TurboClient, **changes: Any) -> tuple[tb.Campaign, pd.DataFrame]:
    """A campaign that has been sent to these, with what became of it in its journal."""
    orders, table = campaign(policy=PATIENT, **changes), people(len(emails), email=emails)
    orders.send(table, client, progress=False)
    return orders, table


def looks_up(opened: Opened) -> State:
    """Press the button, and wait for what comes of it and for the journal's word."""
    opened.view.results.look_up.click()
    opened.sees(lambda now: now.results.looking_up is not Phase.BUSY)
    return opened.sees(lambda now: now.results.phase is not Phase.BUSY)


# Looking up what is in doubt


def test_what_is_in_doubt_is_looked_up_and_the_rest_is_settled_by_hand(sandbox: Sandbox) -> None:
    """What the vendor has is sent; of the rest it is said why not, and nothing is posted."""
    opened = Opened(*sent(LOST, sandbox.client()), sandbox.client())
    pane, posts = opened.view.results, sandbox.requests_seen()
    assert opened.now.results.doubts == ("1", "2")
    assert not pane.look_up.disabled
    now = looks_up(opened).results
    assert now.counts == {"sent": 2, "in_doubt": 1}
    assert now.doubts == ("2",)
    assert text_of(pane.answer).count("Looked up 2 emails: 1 found, 1 too early. Found ones are settled as sent.") == 1
    told = text_of(pane.told)
    assert "found in the vendor&#x27;s analytics: delivered" in told
    assert told.index("key 2") < told.index("key 1")  # what remains is read first
    assert "not in the analytics yet: ask again after" in told
    assert sandbox.requests_seen() == posts

    pane.all.click()
    pane.as_pending.click()
    pane.yes.click()
    opened.sees(lambda now: not now.results.in_doubt and now.results.phase is Phase.DONE)
    assert "key 2" not in text_of(pane.told)
    assert is_there(pane.in_doubt)  # as long as there is something to tell
    assert not is_there(pane.doubts)
    assert pane.look_up.disabled
    assert "nothing is in doubt" in text_of(pane.look_up_text)


@pytest.mark.parametrize(
    ("trouble", "said"),
    [("v1", "v2 credentials"), ("no credentials", "no credentials"), ("away", "analytics"), ("in use", "in use by")],
)
def test_a_look_up_that_cant_be_made_says_why(trouble: str, said: str, sandbox: Sandbox) -> None:
    """In one line; what is in doubt stays so."""
    orders, table = sent(LOST, sandbox.client())
    clients = {"v1": sandbox.client(api="v1"), "no credentials": None}
    opened = Opened(orders, table, clients.get(trouble, sandbox.client(timeout=1)))
    with ExitStack() as held:
        if trouble == "away":
            sandbox.stop()
        if trouble == "in use":
            held.enter_context(in_use(orders.journal_path, orders.name))
        opened.view.results.look_up.click()
        now = opened.sees(lambda now: now.results.looking_up is Phase.STOPPED).results
    assert said in now.notice
    assert "\n" not in now.notice
    assert now.in_doubt == 2
    assert not opened.view.results.look_up.disabled


@contextmanager
def in_use(journal: Path, name: str) -> Iterator[None]:
    """Another process holds the journal, as one that sends does."""
    holding = "from turbobatch.journal import open_journal; from pathlib import Path; import sys; "
    holding += "held = open_journal(Path(sys.argv[1]), sys.argv[2]); print('held', flush=True); input(); held.close()"
    command = [sys.executable, "-c", holding, str(journal), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield
        finally:
            process.communicate("\n", timeout=60)


def test_the_environments_v2_account_is_asked_where_v1_sends(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the command line does; what v1 has sent has no label, so it is told and not guessed."""
    for name, value in (("AUTHUSER", "sandbox"), ("AUTHPASS", "sandbox"), ("BASE_URL", sandbox.base_url("v1"))):
        monkeypatch.setenv(f"TURBOSMTP_{name}", value)
    orders, table = sent(LOST[:2], sandbox.client(api="v1"), api="v1")
    opened = Opened(orders, table)
    for name, value in (
        ("CONSUMER_KEY", "sandbox"),
        ("CONSUMER_SECRET", "sandbox"),
        ("BASE_URL", sandbox.base_url("v2")),
    ):
        monkeypatch.setenv(f"TURBOSMTP_{name}", value)
    now = looks_up(opened).results
    assert (now.notice, now.in_doubt) == ("", 1)
    assert "1 unclear" in now.answer
    assert f"(mid {sandbox.inbox()['mid'].iloc[1]})" in text_of(opened.view.results.told)


def test_while_a_run_is_in_progress_nothing_is_looked_up() -> None:
    """The button is no button then, and says why."""
    with Sandbox(latency=0.05) as slow:
        client = slow.client()
        orders, table = sent(LOST, client)
        opened = Opened(orders, table, client)
        pane = opened.view.results
        more = people(40, id=[*range(100, 140)], email=[f"q{n}@example.org" for n in range(40)])
        run = orders.paced(rate="10/second", concurrency=2).start(more, client)
        opened.console._actions.attach()
        opened.sees(lambda now: now.send.running)
        assert pane.look_up.disabled
        assert "a run is in progress" in text_of(pane.look_up_text)
        pane.look_up.click()
        assert opened.now.results.looking_up is Phase.IDLE
        run.stop()
        opened.ends()
        assert not pane.look_up.disabled


def test_a_look_up_can_be_stopped_and_keeps_others_waiting(sandbox: Sandbox) -> None:
    """Nothing is settled then; until it ends nothing is settled by hand or started either."""
    opened = Opened(*sent([*LOST, "new@example.org"], sandbox.client()), sandbox.client())
    pane = opened.view.results
    with opened.console._actions._desk._journal_use:  # somebody reads the journal: the look-up waits for its turn
        pane.look_up.click()
        opened.view.paint()
        assert pane.look_up.disabled
        assert pane.as_sent.disabled
        assert "0 of 2" in text_of(pane.look_up_text)
        assert "looking up" in text_of(opened.view.head)
        assert "being looked up" in text_of(opened.view.send.hint)
        assert opened.view.send.start.disabled
        pane.stop_look_up.click()
        opened.sees(lambda now: now.results.looking_up is Phase.STOPPED)
    assert opened.now.results.in_doubt == 2
    assert not is_there(pane.stop_look_up)
    assert not pane.as_sent.disabled
    assert looks_up(opened).results.in_doubt == 1


def test_what_a_look_up_tells_is_masked(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    """Where keys are addresses."""
    monkeypatch.setattr(tb.options, "mask_addresses", True)
    opened = Opened(*sent(LOST, sandbox.client(), key="email"), sandbox.client())
    looks_up(opened)
    assert "r…@example.org" in text_of(opened.view.results.told)
    assert not [value for value in held_by(opened.view.widget) if "reset-" in str(value)]


def test_what_was_looked_up_before_a_run_isnt_told_after_it(sandbox: Sandbox) -> None:
    """The next run may have put other emails in doubt."""
    orders, table = sent(LOST, sandbox.client())
    opened = Opened(orders, table, sandbox.client())
    assert looks_up(opened).results.told
    opened = Opened(orders, pd.concat([table, people(2, id=[8, 9])]), sandbox.client())
    looks_up(opened)
    opened.start()
    now = opened.ends().results
    assert now.told == ()
    assert now.counts["sent"] == 4


# What failed, and its way through a file


def test_failures_have_a_kind_and_a_suggestion(sandbox: Sandbox) -> None:
    """The kinds to choose from are those that occur."""
    opened = Opened(*sent(["ana@example.org", "bob@@gmial.com", None, "reject@example.org"], sandbox.client()), None)
    pane = opened.view.results
    assert [value for _, value in pane.category.options] == ["", "domain typo", "blank", "refused by the API"]
    line = next(text.value for text in pane.failures._texts if "bob@@gmial.com" in text.value)
    assert "domain typo" in line
    assert "did you mean bob@gmail.com?" in line
    pane.category.value = "blank"
    opened.view.paint()
    assert [button.description for button in shown(pane.failures)] == ["row 2"]
    pane.status.value = "rejected"
    opened.view.paint()
    assert shown(pane.failures) == []
    pane.category.value = ""
    opened.view.paint()
    assert [button.description for button in shown(pane.failures)] == ["row 3"]


def writes_failed(opened: Opened, path: str = "") -> str:
    """Write the failed addresses, and return what is said of it."""
    pane = opened.view.results
    pane.failed_path.value = path or pane.failed_path.value
    pane.export_failed.click()
    now = opened.sees(lambda now: now.results.exporting is not Phase.BUSY).results
    return now.notice or now.answer


def correct(path: Path, corrections: dict[str, str]) -> None:
    """By hand: other addresses in the table's own column, by the row's number."""
    text = path.read_text("utf-8")
    frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    frame["email"] = [corrections.get(row, email) for row, email in zip(frame["row"], frame["email"], strict=True)]
    frame.to_csv(path, index=False)
    assert path.read_text("utf-8") != text


@pytest.mark.parametrize("key", ["id", None])
def test_failed_addresses_are_written_corrected_and_opened_again(
    key: str | None, sandbox: Sandbox, folder: Path
) -> None:
    """Every pane shows the corrected rows alone; they leave, once, and nothing else does."""
    client = sandbox.client()
    orders, table = sent(["ana@example.org", "bob@@example.org", "reject@example.org", *LOST[1:2]], client, key=key)
    opened = Opened(orders, table, client)
    said = writes_failed(opened)
    assert said.startswith("3 failed addresses, written to orders-failed.csv. Correct the table's own columns in it")
    assert "tb.Console(campaign, 'orders-failed.csv', client)" in said
    path = folder / "orders-failed.csv"
    correct(path, {"1": "bob@example.org", "2": "carl@example.org"})

    mended = Opened(orders, "orders-failed.csv", client)
    assert mended.view.results.failed_path.value == "orders-failed-2.csv"
    mended.shows_row(0)
    assert "row 0 (line 2 of orders-failed.csv); 1 of 3" in text_of(mended.view.preview.where)
    assert "bob@example.org" in text_of(mended.view.preview.head)
    mended.view.preview.form.value = Form.CELLS
    mended.view.paint()
    assert "suggestion" not in text_of(mended.view.preview.body)  # the audit's columns are no cells of the row
    mended.view.check.check.click()
    mended.sees(lambda now: now.check.phase is Phase.DONE)
    assert "Checked all 3 rows: no problems" in text_of(mended.view.check.text)
    mended.start()
    assert mended.ends().results.counts == {"sent": 2, "in_doubt": 1}
    arrived = sorted(sandbox.inbox()["to"])
    assert arrived == ["ana@example.org", "bob@example.org", "carl@example.org", "reset-after@example.org"]
    assert looks_up(mended).results.counts == {"sent": 3}
    mended.count()
    assert mended.now.send.plan is not None
    assert mended.now.send.plan.emails == 0


def test_what_may_not_be_sent_again_is_told_before_a_start(sandbox: Sandbox, folder: Path) -> None:
    """A row in doubt that was given another address keeps its key: it stays in doubt, and is counted as such."""
    client = sandbox.client()
    orders, table = sent(["bob@@example.org", LOST[1]], client, key=None)
    opened = Opened(orders, table, client)
    writes_failed(opened)
    path = folder / "orders-failed.csv"
    correct(path, {"0": "bob@example.org", "1": "other@example.org"})
    mended = Opened(orders, path, client)
    mended.count()
    plan = mended.now.send.plan
    assert plan is not None
    assert (plan.emails, plan.known) == (1, {Status.IN_DOUBT: 1})


def test_a_corrected_file_is_never_replaced_unasked(sandbox: Sandbox, folder: Path) -> None:
    """Also where this console has written it, as somebody may have corrected it since."""
    opened = Opened(*sent(["ana@example.org", "bob@@example.org"], sandbox.client()), None)
    pane, path = opened.view.results, folder / "orders-failed.csv"

    def exports() -> None:
        pane.path.value = path.name
        pane.export.click()
        opened.sees(lambda now: now.results.exporting is not Phase.BUSY)

    exports()  # a console's own export is replaced by its next one without a question
    assert writes_failed(opened) == ""
    assert "What was corrected in it would be lost. Replace it?" in text_of(pane.there)
    pane.replace.click()
    opened.sees(lambda now: now.results.exporting is Phase.DONE)
    assert path.read_text().startswith("address,field,")
    path.write_text("corrected")
    exports()
    assert "is there already" in text_of(pane.there)
    assert writes_failed(opened) == ""
    assert path.read_text() == "corrected"
    assert "can't be given back: write the failed addresses as .csv" in writes_failed(opened, "failed.html")
    assert not (folder / "failed.html").exists()
