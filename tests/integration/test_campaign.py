"""Campaigns through a sandbox: the public Python API, word for word and in every order that users come up with."""

from __future__ import annotations

import functools
import itertools
import os
import shutil
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from email import message_from_string, policy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

import turbobatch as tb
from turbobatch.check import CHANGED
from turbobatch.journal.sqlite import OPEN
from turbobatch.policy import Policy
from turbobatch.run import RunState, active_run
from turbobatch.sandbox import Sandbox
from turbobatch.testing import FakeTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

    from tests.conftest import Until
    from turbobatch.transport import Completion, Job

SAMPLES = Path(__file__).parents[2] / "sample_data"
QUICK = Policy(first_wait=0.01, longest_wait=0.02, first_patience=0.1, patience=0.1)

pytestmark = pytest.mark.usefixtures("folder")


def campaign(**changes: Any) -> tb.Campaign:
    """A campaign made in Python."""
    message = tb.MailMerge(
        from_="Acme <shop@acme.example>",
        to="{{ name }} <{{ email }}>",
        subject="Order {{ id }}",
        text="Dear {{ name }}",
    )
    settings: dict[str, Any] = {"name": "orders", "message": message, "key": "id", "policy": QUICK}
    return tb.Campaign(**(settings | changes))


def people(count: int = 3, **changes: Any) -> pd.DataFrame:
    """A table of good rows."""
    numbers = range(count)
    own = {"id": list(numbers), "name": [f"P {n}" for n in numbers], "email": [f"p{n}@example.org" for n in numbers]}
    return pd.DataFrame(own | changes)


def statuses(results: pd.DataFrame) -> list[str]:
    return [str(status) for status in results["send_status"]]


class HeldTransport:
    """Posts through another transport, but only while the gate is open."""

    def __init__(self, inner: Any, gate: threading.Event) -> None:
        self.inner, self.gate = inner, gate
        self.held: list[Job] = []

    def submit(self, jobs: Sequence[Job]) -> None:
        self.held += jobs

    def poll(self, timeout: float) -> Sequence[Completion]:
        if self.gate.wait(timeout) and self.held:
            self.inner.submit(self.held)
            self.held = []
        found: Sequence[Completion] = self.inner.poll(timeout)
        return found

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
def gate() -> threading.Event:
    return threading.Event()


@pytest.fixture
def held(sandbox: Sandbox, gate: threading.Event) -> tb.TurboClient:
    """A client whose POSTs wait for the gate."""
    inner = sandbox.client()
    return sandbox.client(transport=lambda concurrency: HeldTransport(inner.open_transport(concurrency), gate))


# The public API, word for word


def test_an_email_as_the_design_writes_it(folder: Path, sandbox: Sandbox) -> None:
    """Email, Attachment, to_wire and send, for both versions of the API."""
    (folder / "a.pdf").write_bytes(b"%PDF-1.4")
    email = tb.Email(
        from_="Acme <shop@acme.example>",
        to=["Ana <ana@example.org>"],
        cc=[],
        bcc=[],
        subject="Hello",
        content="text",
        html_content='<p><img src="cid:logo">',
        custom_headers={"X-Order": "1"},
        reply_to=None,
        attachments=[
            tb.Attachment.from_path("a.pdf"),
            tb.Attachment(b"\x89PNG", name="logo.png", type="image/png", content_id="logo"),
        ],
        mime_raw=None,
        reference_id=None,
        campaign_id=None,
    )
    wire = email.to_wire(api="v2")
    assert wire["html_content"] == '<p><img src="cid:logo@acme.example">'
    assert [item["name"] for item in wire["attachments"]] == ["a.pdf", "logo.png"]
    for client in (
        *(sandbox.client("v1", auth_in=place) for place in ("headers", "fields", "query")),
        sandbox.client(api="v2"),
    ):
        result = client.send(email)
        assert (result.status, result.message, result.errors, result.http_status) == ("sent", "OK", (), 200)
        assert (result.mid is None) == (client.api.name == "v1")
        client.close()
    assert [sorted(names) for names in sandbox.inbox()["attachments"]] == [["a.pdf", "logo.png"]] * 4


def test_clients_as_the_design_writes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """v1, v2, a region, and the environment."""
    assert tb.TurboClient(authuser="…".encode().hex(), authpass="x").host == "api.turbo-smtp.com"
    eu = tb.TurboClient(consumer_key="k", consumer_secret="s", region="eu", timeout=5)
    assert eu.base_url == "https://api.eu.turbo-smtp.com/api/v2"
    monkeypatch.setenv("TURBOSMTP_AUTHUSER", "u")
    monkeypatch.setenv("TURBOSMTP_AUTHPASS", "p")
    assert tb.TurboClient.from_env().api.name == "v1"


def test_a_campaign_as_the_design_writes_it(folder: Path) -> None:
    """Load, check, preview, send twice, results, reports, audit."""
    shutil.copytree(SAMPLES / "orders", "sample_data/orders", ignore=shutil.ignore_patterns("*.journal.db*"))
    recipients = "sample_data/orders/orders.csv"
    campaign = tb.Campaign.load("sample_data/orders")
    assert campaign.check().empty
    assert campaign.preview(row=0).key == "001184"
    with tb.Sandbox() as sandbox:
        client = sandbox.client(api="v2")
        results = campaign.send(client=client)
        assert campaign.send(client=client, progress=False).equals(results)
        run = campaign.start(client=client)
        assert run.wait()
        assert (run.progress.state, run.progress.done, run.progress.known) == (RunState.FINISHED, 60, 60)
        assert sandbox.requests_seen() == 20
        client.close()
    assert len(sandbox.inbox()) == 20
    assert_frame_equal(campaign.results(), results)
    tb.write_report(results, "report.parquet")
    assert statuses(tb.read_report("report.parquet")) == ["sent"] * 60
    assert tb.audit(results).empty
    assert (folder / "sample_data/orders/orders-2026-11.journal.db").exists()
    with pytest.raises(tb.CampaignError, match="names column 'order_id', which the table hasn't"):
        campaign.check(people())
    assert not campaign.reads(Path("report.parquet"))
    assert campaign.reads(Path(recipients))
    assert repr(campaign) == "<Campaign 'orders-2026-11', journal sample_data/orders/orders-2026-11.journal.db>"


@pytest.mark.parametrize("wrap", [lambda it: [it], lambda it: {"k": it}], ids=["list", "dict"])
def test_nested_cells_are_in_every_report_or_nothing_is_sent(
    wrap: Callable[[Any], Any], sandbox: Sandbox, client: tb.TurboClient
) -> None:
    """What no Parquet report could hold is found out first; what is sent can be written and read back."""
    deep = functools.reduce(lambda it, _: wrap(it), range(48), 1)
    too_deep = wrap(deep)
    table = people(2, tree=pd.Series([deep, too_deep], dtype=object))
    with pytest.raises(tb.CampaignError, match=r"^row 1, column 'tree' of the DataFrame is nested more than 48 levels"):
        campaign().send(table, client, progress=False)
    assert sandbox.requests_seen() == 0
    results = campaign().send(table.assign(tree=pd.Series([deep, deep], dtype=object)), client, progress=False)
    assert statuses(results) == ["sent", "sent"]
    for ending in (".csv", ".parquet", ".xlsx", ".html"):
        tb.write_report(results, f"report{ending}")
    assert statuses(tb.read_report("report.parquet")) == ["sent", "sent"]


def test_a_campaign_made_in_python(folder: Path, sandbox: Sandbox, client: tb.TurboClient) -> None:
    """A DataFrame and templates do; the index stays, the journal lies in the working directory."""
    orders = people(index=None).set_index(pd.Index(["x", "y", "z"], name="line")).drop(columns="index")
    results = campaign().send(orders, client, progress=False)
    assert_frame_equal(results[list(orders.columns)], orders)
    assert statuses(results) == ["sent"] * 3
    assert sorted(sandbox.inbox()["subject"]) == ["Order 0", "Order 1", "Order 2"]
    assert set(sandbox.inbox()["campaign_id"]) == {"orders"}
    assert sorted(sandbox.inbox()["reference_id"]) == ["0", "1", "2"]
    assert (folder / "orders.journal.db").exists()
    assert statuses(campaign().results(orders)) == ["sent"] * 3  # another object, the same campaign


def test_a_clients_environment_is_used_where_none_is_given(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """`send` without a client takes the credentials from the environment."""
    with pytest.raises(tb.CampaignError, match="no credentials: set TURBOSMTP_CONSUMER_KEY"):
        campaign().send(people())
    monkeypatch.setenv("TURBOSMTP_CONSUMER_KEY", "sandbox")
    monkeypatch.setenv("TURBOSMTP_CONSUMER_SECRET", "sandbox")
    monkeypatch.setenv("TURBOSMTP_BASE_URL", sandbox.base_url("v2"))
    assert statuses(campaign().send(people(), progress=False)) == ["sent"] * 3
    assert [row for row, _ in campaign().send_test("me@example.org", people())] == [0]


def test_what_is_given_goes_before_what_the_file_says(folder: Path, sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Recipients, rate, concurrency and journal."""
    shutil.copytree(SAMPLES / "starter", "mine", ignore=shutil.ignore_patterns("*.journal.db*"))
    table = people(1, city=["Rome"])
    loaded = tb.Campaign.load("mine", recipients=table, rate="100/second", concurrency=3, journal="other.db")
    assert (loaded.concurrency, [str(limit) for limit in loaded.limits]) == (3, ["100/second"])
    assert statuses(loaded.send(client=client, progress=False)) == ["sent"]
    assert (folder / "other.db").exists()
    assert not list((folder / "mine").glob("*.db"))
    assert sandbox.inbox()["to"].tolist() == ["P 0 <p0@example.org>"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": " "}, "name ' ' must be a text without slashes"),
        ({"name": "a/b"}, "name 'a/b' must be a text without slashes"),
        ({"name": "é" * 101}, "must have 200 bytes at most; it names the journal"),
        ({"concurrency": 0}, "concurrency is 0: give a whole number above 0"),
        ({"concurrency": True}, "concurrency is True"),
        ({"concurrency": 2.5}, "concurrency is 2.5"),
        ({"rate": "often"}, "'often'"),
        ({"rate": " "}, "is not a number per"),
        ({"window": ""}, "window '': expected days"),
        ({"window": "sometimes"}, "sometimes"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(changes: dict[str, Any], message: str) -> None:
    """At once, in one line."""
    with pytest.raises(tb.CampaignError, match=message):
        campaign(**changes)


def test_without_recipients_nothing_can_be_done() -> None:
    """The error names both ways to give them."""
    with pytest.raises(tb.CampaignError, match="the campaign has no recipients: name a table"):
        campaign().check()


# Never twice


def test_running_again_sends_nothing_twice(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Not in another cell, not in another object, not with more rows: only what is new."""
    first = campaign().send(people(3), client, progress=False)
    again = campaign().send(people(5), client, progress=False)
    assert statuses(again) == ["sent"] * 5
    assert first["send_mid"].tolist() == again["send_mid"].tolist()[:3]
    assert Counter(sandbox.inbox()["subject"]) == {f"Order {n}": 1 for n in range(5)}


def test_without_a_key_the_content_is_the_key(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """The same row twice is a duplicate; a changed one is another email; over runs too."""
    table = people(2, id=[7, 7], name=["Ana", "Ana"], email=["ana@example.org"] * 2)
    results = campaign(key=None).send(table, client, progress=False)
    assert statuses(results) == ["sent", "duplicate"]
    assert results["send_key"][0] == results["send_key"][1]
    assert results["send_message"][1] == "row 1: same key as row 0"
    table.loc[1, "name"] = "Bea"
    assert statuses(campaign(key=None).send(table, client, progress=False)) == ["sent", "sent"]
    assert len(sandbox.inbox()) == 2


def test_a_corrected_row_is_sent_and_an_unchanged_rejected_one_is_not(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """With the same key: invalid and rejected rows get another chance when they have changed."""
    table = people(4, email=["a@@", "reject@example.org", "reject+2@example.org", "d@example.org"])
    first = campaign().send(table, client, progress=False)
    assert statuses(first) == ["invalid", "rejected", "rejected", "sent"]
    assert first["send_errors"].tolist()[:2] == [["'a@@' 'to' email not valid"], ["rejected on demand"]]
    seen = sandbox.requests_seen()
    second = campaign().send(table, client, progress=False)
    assert sandbox.requests_seen() == seen
    assert statuses(second) == statuses(first)
    table.loc[[0, 1], "email"] = ["a@example.org", "b@example.org"]
    third = campaign().send(table, client, progress=False)
    assert statuses(third) == ["sent", "sent", "rejected", "sent"]
    assert third["send_attempts"].tolist() == [1, 2, 1, 1]
    assert sandbox.requests_seen() == seen + 2


def test_failed_rows_are_tried_again(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """What surely wasn't accepted is no final verdict: the next run tries it again."""
    table = people(2, email=["reset-before@example.org", "b@example.org"])
    policy = Policy(tries=1, first_wait=0.01)
    with Sandbox() as other:
        pass  # a port where nobody listens any more
    nowhere = tb.TurboClient(consumer_key="k", consumer_secret="s", base_url=other.base_url("v2"))
    assert statuses(campaign(policy=policy).send(table, nowhere, progress=False)) == ["failed", "failed"]
    table.loc[0, "email"] = "a@example.org"
    results = campaign().send(table, client, progress=False)
    assert statuses(results) == ["sent", "sent"]
    assert results["send_attempts"].tolist() == [2, 2]
    assert len(sandbox.inbox()) == 2


def test_rows_in_doubt_wait_for_the_user(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """They are held, settled by hand, or posted again on request."""
    table = people(3, email=[f"reset-after+{n}@example.org" for n in range(3)])
    assert statuses(campaign().send(table, client, progress=False)) == ["in_doubt"] * 3
    assert statuses(campaign().send(table, client, progress=False)) == ["in_doubt"] * 3
    assert sandbox.requests_seen() == 3
    with pytest.raises(tb.CampaignError, match="key 'x' is not in doubt, nothing was settled: known are '0', '1', '2'"):
        campaign().settle(tb.Status.SENT, ["0", "x"])
    with pytest.raises(tb.CampaignError, match='rows in doubt are settled as "sent" or "pending", not \'failed\''):
        campaign().settle(tb.Status.FAILED)
    assert campaign().settle(tb.Status.SENT, ["0", "0"]) == 1
    with pytest.raises(tb.CampaignError, match="key '0' is not in doubt, nothing was settled: it is sent"):
        campaign().settle(tb.Status.PENDING, ["0"])
    assert campaign().settle(tb.Status.PENDING, ["1"]) == 1
    assert statuses(campaign().results(table)) == ["sent", "pending", "in_doubt"]
    table["email"] = [f"p{n}@example.org" for n in range(3)]
    assert statuses(campaign().send(table, client, resend=True, progress=False)) == ["sent"] * 3
    assert campaign().settle(tb.Status.SENT) == 0
    with pytest.raises(tb.CampaignError, match="key 'x' is not in doubt, nothing was settled: no row is"):
        campaign().settle(tb.Status.SENT, ["x"])


def test_another_campaigns_journal_is_refused(client: tb.TurboClient) -> None:
    """Two names never share a journal, also while a run of the other is in progress."""
    campaign(journal="shared.db").send(people(), client, progress=False)
    with pytest.raises(tb.JournalError, match="is the journal of campaign 'orders', not of 'others'"):
        campaign(name="others", journal="shared.db").start(people(), client)


# Runs


def test_a_second_start_attaches_to_the_run(
    sandbox: Sandbox, held: tb.TurboClient, gate: threading.Event, until: Callable[[Callable[[], Any]], None]
) -> None:
    """While a run is active, starting again gives the same run; afterwards a new one."""
    table = people(5)
    run = campaign().start(table, held)
    try:
        assert campaign().start(table, held) is run
        until(campaign().in_doubt)
        assert statuses(campaign().results(table)) == ["in_doubt", *["pending"] * 4]
        assert run.progress.state is RunState.RUNNING
        assert not run.wait(0)
        with pytest.raises(tb.CampaignError, match="a run of this campaign is in progress: stop it, then settle"):
            campaign().settle(tb.Status.SENT)
    finally:
        gate.set()
    assert run.wait(60)
    assert campaign().start(table, held) is not run
    assert len(sandbox.inbox()) == 5


def test_starts_at_the_same_time_make_one_run(sandbox: Sandbox, held: tb.TurboClient, gate: threading.Event) -> None:
    """Several threads, one journal: each gets the same run, and each email arrives once."""
    table = people(8)
    barrier = threading.Barrier(6)
    runs: list[tb.Run] = []

    def start() -> None:
        barrier.wait()
        runs.append(campaign().start(table, held))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    gate.set()
    assert len(runs) == 6
    assert len(set(map(id, runs))) == 1
    assert runs[0].wait(60)
    assert Counter(sandbox.inbox()["subject"]) == {f"Order {n}": 1 for n in range(8)}


def test_a_run_that_ends_at_once_is_not_taken_for_one_in_progress(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """However quickly runs end, each start makes its own."""
    empty = people(0)
    for number in range(30):
        table = empty if number % 3 else people(number + 1)
        run = campaign().start(table, client)
        assert run.wait(60)
        assert statuses(campaign().results(table)) == ["sent"] * len(table)
    assert len(sandbox.inbox()) == 28


def test_a_run_can_be_paused_resumed_and_stopped(
    sandbox: Sandbox, held: tb.TurboClient, gate: threading.Event, until: Until
) -> None:
    """Pause begins no POSTs, stop leaves the rest pending, and sending again goes on."""
    table = people(40)
    run = campaign(concurrency=2).start(table, held)
    run.pause()
    assert repr(run) == "<Run paused: 0 of 40 rows>"
    gate.set()
    until(lambda: run.progress.waiting == "Resume" and len(sandbox.inbox()) == run.progress.done)
    assert len(sandbox.inbox()) <= 2
    run.resume()
    until(lambda: run.progress.done >= 5)
    run.stop()
    assert run.wait(60)
    assert run.progress.state in (RunState.STOPPED, RunState.FINISHED)
    found = Counter(statuses(campaign().results(table)))
    assert found["sent"] == len(sandbox.inbox()) == run.progress.done
    assert set(found) <= {"sent", "pending"}
    assert statuses(campaign().send(table, sandbox.client(), progress=False)) == ["sent"] * 40
    assert Counter(sandbox.inbox()["subject"]).most_common(1)[0][1] == 1


def test_a_run_that_cannot_begin_leaves_no_lock(client: tb.TurboClient, sandbox: Sandbox) -> None:
    """If the transport or the table fails at the start, the journal is let go and the next start works."""

    def broken(_concurrency: int) -> Any:
        raise tb.CampaignError("no such transport")

    from turbobatch.journal import sqlite

    before = set(sqlite.OPEN)  # tests of lost journals leave some open, as they should
    with pytest.raises(tb.CampaignError, match="no such transport"):
        campaign().start(people(), sandbox.client(transport=broken))
    assert set(sqlite.OPEN) == before
    assert statuses(campaign().send(people(), client, progress=False)) == ["sent"] * 3


def test_early_ends_are_errors_that_say_what_to_do() -> None:
    """Wrong credentials, no credit, nobody there; the rows are pending, and results can be had."""
    with Sandbox(nocredit_after=1) as sandbox:
        wrong = tb.TurboClient(consumer_key="no", consumer_secret="no", base_url=sandbox.base_url("v2"))
        with pytest.raises(tb.AuthenticationError, match=r"the API refused the credentials .*check them and run"):
            campaign().send(people(), wrong, progress=False)
        assert statuses(campaign().results(people())) == ["pending"] * 3
        with pytest.raises(tb.NotSentError, match=r"the account has no credit left .*top it up and run"):
            campaign(concurrency=1).send(people(), sandbox.client(), progress=False)
        assert statuses(campaign().results(people())) == ["sent", "pending", "pending"]
    with pytest.raises(tb.NotSentError, match="the API can't be reached"):
        campaign().send(people(9), sandbox.client(), progress=False)


@pytest.mark.parametrize("key", ["id", None])
def test_a_limit_counts_emails_that_are_posted(key: str | None, sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Rows that need no POST don't use it up."""
    table = people(5, email=["a@@", "b@example.org", "c@@", "d@example.org", "e@example.org"])
    first = campaign(key=key).send(table, client, limit=2, progress=False)
    assert statuses(first) == ["invalid", "sent", "invalid", "sent", "pending"]
    assert len(sandbox.inbox()) == 2
    assert statuses(campaign(key=key).send(table, client, progress=False))[-1] == "sent"


def test_suppressed_rows_get_nothing(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Whoever is on the list, in any spelling; off the list they are sent."""
    suppressed = pd.DataFrame({"email": ["P1@Example.org"], "reason": ["asked us to stop"]})
    results = campaign(suppress=suppressed).send(people(), client, progress=False)
    assert statuses(results) == ["sent", "suppressed", "sent"]
    assert results["send_message"][1] == "row 1: to: p1@example.org is suppressed (asked us to stop)"
    assert len(sandbox.inbox()) == 2
    found = campaign(suppress=suppressed).check(people())
    assert found[["row", "status", "problem"]].to_numpy().tolist() == [
        [1, "suppressed", "p1@example.org is suppressed (asked us to stop)"]
    ]
    assert statuses(campaign().send(people(), client, progress=False)) == ["sent"] * 3


# Looking


def test_a_plan_counts_before_anything_is_sent(client: tb.TurboClient) -> None:
    """Rows, emails at most, what is known already, and the sender."""
    table = people(4, id=[1, 1, 2, None])
    before = campaign().plan(table)
    assert (before.rows, before.emails, before.known, before.sender) == (4, 2, {}, "Acme <shop@acme.example>")
    assert not Path("orders.journal.db").exists()
    campaign().send(table, client, progress=False)
    after = campaign().plan(table)
    assert (after.rows, after.emails, after.known) == (4, 0, {tb.Status.SENT: 1 + 1})


def test_a_plan_tells_what_was_refused(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Only a change of the email makes it leave, and whether there was one isn't known before the merge."""
    table = people(4, email=["a@example.org", "reject@example.org", "b@@", "reject@example.org"])
    assert campaign().plan(table).refused == 0
    campaign().send(table, client, progress=False)
    plan = campaign().plan(table)
    assert (plan.emails, plan.refused) == (3, 2)
    posts = sandbox.requests_seen()
    campaign().send(people(4, email=["a@example.org", "reject@example.org", "b@@", "c@example.org"]), client)
    assert sandbox.requests_seen() == posts + 1
    assert campaign().plan(table).refused == 1


def test_a_check_names_each_problem() -> None:
    """One row per problem, none for good rows; nothing is sent and no journal made."""
    table = people(4, id=[0, None, 2, 0], email=["a@@", "b@example.org", None, "d@example.org"])
    found = campaign().check(table)
    assert list(found.columns) == ["row", "where", "status", "field", "columns", "problem", "cure", "send_key"]
    shown = found[["row", "status", "columns", "problem"]].to_numpy().tolist()
    assert shown == [
        [0, "invalid", "email", "'a@@' 'to' email not valid"],
        [1, "invalid", "id", "column 'id' is blank, and it is the key"],
        [2, "invalid", "email", "column 'email' is blank"],
        [3, "duplicate", "", "same key as row 0"],
    ]
    assert found["cure"].tolist()[1:3] == ["fill the cell", 'fill the cell, or print it with | default("…")']
    assert all(found["cure"])
    assert campaign().check(people()).empty
    assert not Path("orders.journal.db").exists()
    with pytest.raises(tb.CampaignError, match='there is no API \'v3\': use "v1" or "v2"'):
        campaign().check(people(), api="v3")


def test_a_check_counts_what_was_sent_and_reads_differently_now(client: tb.TurboClient) -> None:
    """By cells or by the template; what isn't sent yet, and what is as it was, doesn't count."""
    made = campaign()
    assert made.check(people(3)).attrs[CHANGED] == 0
    made.send(people(3), client, progress=False)
    assert made.check(people(4)).attrs[CHANGED] == 0
    assert made.check(people(4, name=["P 0", "New", "Too", "P 3"])).attrs[CHANGED] == 2
    other = tb.MailMerge(from_="a@acme.example", to="{{ email }}", subject="Other", text="{{ name }}")
    changed = campaign(message=other).check(people(4))
    assert changed.attrs[CHANGED] == 3
    assert campaign(message=other, name="new").check(people(4)).attrs[CHANGED] == 0


def test_a_frame_has_the_campaigns_methods(client: tb.TurboClient, sandbox: Sandbox) -> None:
    """`df.turbobatch` is the campaign's own, with the frame as its table."""
    table: Any = people(3)  # whose stubs know no accessors
    made = campaign()
    assert table.turbobatch.check(made).empty
    assert statuses(table.turbobatch.send(made, client, progress=False, limit=2)) == ["sent", "sent", "pending"]
    assert_frame_equal(table.turbobatch.results(made), made.results(table))
    assert table.turbobatch.send(made, client, progress=False).turbobatch.check(made).empty
    assert len(sandbox.inbox()) == 3


def test_a_run_is_shown_in_a_notebook(held: tb.TurboClient, gate: threading.Event) -> None:
    """Where it is, how far, and what it came to."""
    table = people(4, email=["a@example.org", "b@@", "c@example.org", "d@example.org"])
    run = campaign(concurrency=4).start(table, held)
    shown = run._repr_html_()
    assert ">running</span>" in shown
    assert " of 4 rows" in shown
    gate.set()
    run.wait()
    shown = run._repr_html_()
    for text in (
        ">finished</span>",
        '<progress value="4" max="4"',
        "4 of 4 rows",
        ">3 sent</span>",
        ">1 invalid</span>",
    ):
        assert text in shown


def test_a_preview_is_shown_in_a_notebook() -> None:
    """Headers and text part, the HTML part in a frame that runs nothing, its inline images in it."""
    loaded = tb.Campaign.load(SAMPLES / "receipts")
    preview = loaded.preview(row=7)
    shown = preview._repr_html_()
    assert "&quot;Doe, Jane&quot; &lt;" in shown
    assert '<iframe sandbox=""' in shown
    assert "default-src &#x27;none&#x27;" in shown
    assert "src=&quot;data:image/png;base64," in shown
    assert "<script" not in shown
    assert repr(preview).startswith("From: Acme Receipts <receipts@acme.example>\nTo: ")
    broken = loaded.preview(row=68)
    assert broken.email is None
    assert repr(broken).replace("'", "&#x27;") in broken._repr_html_()
    with pytest.raises(tb.CampaignError, match="broken@@@Address"):
        broken.render("text")


def test_a_preview_of_plain_text_and_of_odd_rows() -> None:
    """No HTML part, no key, names in any script, cc and bcc."""
    message = tb.MailMerge(
        from_="Größe <shop@acme.example>",
        to="{{ name }} <{{ email }}>",
        cc="c@example.org",
        bcc="b@example.org",
        subject="Grüße {{ id }}",
        text="Hallo {{ name }}",
        headers={"X-Name": "{{ name }}"},
    )
    preview = campaign(message=message).preview(people(1, name=["Zoë, K"]))
    assert ">Größe &lt;shop@acme.example&gt;<" in preview._repr_html_()
    assert "<iframe" not in preview._repr_html_()
    assert "Bcc: b@example.org" in repr(preview)
    eml = message_from_string(preview.render("eml"), policy=policy.default)
    assert eml["from"].addresses[0].display_name == "Größe"
    assert eml["to"].addresses[0].display_name == "Zoë, K"
    assert (eml["subject"], eml["cc"], eml["bcc"], eml["x-name"]) == ("Grüße 0", "c@example.org", None, "Zoë, K")
    assert eml.get_content() == "Hallo Zoë, K\r\n"
    assert preview.render("eml").isascii()
    assert preview.render("html") == ""
    blank = campaign(message=message).preview(people(1, id=[None]))
    assert (blank.email, blank.key) == (None, None)
    assert "column 'id' is blank" in repr(blank)
    with pytest.raises(tb.CampaignError, match="the DataFrame has no row 5: rows count from 0"):
        campaign().preview(people(), row=5)
    with pytest.raises(tb.CampaignError, match="the DataFrame has no row 1 that begins a group"):
        campaign(group_by="name").preview(people(2, name=["a", "a"]), row=1)


def test_a_table_without_rows_is_no_error(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Nothing to send is done at once; the results have their columns."""
    results = campaign().send(people(0), client, progress=False)
    assert (len(results), list(results.columns)[:3]) == (0, ["id", "name", "email"])
    tb.write_report(results, "empty.csv")
    assert len(tb.read_report("empty.csv")) == 0
    assert sandbox.requests_seen() == 0


def test_tests_stay_outside_the_journal(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """The first good rows go to one address; bad rows and refusals are told."""
    body = "{{ 'x' * size }}"
    big = tb.MailMerge(from_="a@example.org", to="{{ email }}", subject="{{ id }}", text=body, html=body)
    table = people(4, email=["a@@", "b@example.org", "c@example.org", "d@example.org"], size=[1, 13_000_000, 1, 1])
    said = list(campaign(message=big).send_test("Me <me@example.org>", table, client, rows=2))
    assert [row for row, _ in said] == [0, 1, 2]
    assert "row 0: column 'email': 'a@@'" in str(said[0][1])
    assert "over the 24 MB that v2 takes" in str(said[1][1])
    assert said[2][1].status == "sent"  # type: ignore[union-attr]  # a SendResult, as it was sent
    assert sandbox.inbox()["to"].tolist() == ["Me <me@example.org>"]
    assert sandbox.inbox()["campaign_id"].tolist() == ["orders (test)"]
    assert not Path("orders.journal.db").exists()
    with pytest.raises(tb.CampaignError, match="'me' is no address to send a test to"):
        next(campaign().send_test("me", people(), client))


# What must not make another campaign of it


def test_another_working_directory_sends_nothing_twice(folder: Path, sandbox: Sandbox, client: tb.TurboClient) -> None:
    """The journal is where it was when the campaign was made, also after `%cd` in a notebook."""
    made = campaign()
    made.send(people(), client, progress=False)
    (folder / "elsewhere").mkdir()
    os.chdir(folder / "elsewhere")
    assert statuses(made.send(people(), client, progress=False)) == ["sent"] * 3
    assert sandbox.requests_seen() == 3


def test_emails_whose_keys_left_the_table_are_told(client: tb.TurboClient) -> None:
    """Another key for the same people would send to them again: the plan counts what it can't find in the table."""
    made = campaign()
    made.send(people(), client, progress=False)
    assert made.plan(people()).elsewhere == 0
    assert made.plan(people(id=[7, 8, 9])).elsewhere == 3


def test_a_run_in_progress_is_not_taken_for_another(held: tb.TurboClient, gate: threading.Event) -> None:
    """The same start attaches, read anew or not; another table or limit is refused instead of ignored."""
    made = campaign()
    run = made.start(people(), held)
    try:
        assert made.start(people(), held) is run
        with pytest.raises(tb.CampaignError, match="another table or other options"):
            made.start(people(4), held)
        with pytest.raises(tb.CampaignError, match="another table or other options"):
            made.start(people(), held, limit=1)
        with pytest.raises(tb.CampaignError, match="stop it, then settle"):
            made.settle(tb.Status.PENDING)
    finally:
        gate.set()
        assert run.wait(60)
    assert statuses(made.results(people())) == ["sent"] * 3


def test_a_refusal_can_be_settled_as_pending(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """The API may refuse an email for what is mended elsewhere; then the same email is worth another try."""
    made = campaign()
    table = people(2, email=["reject@example.org", "ana@example.org"])
    assert statuses(made.send(table, client, progress=False)) == ["rejected", "sent"]
    assert made.settle(tb.Status.PENDING, ["0"]) == 1
    before = sandbox.requests_seen()
    made.send(table, client, progress=False)
    assert sandbox.requests_seen() == before + 1
    with pytest.raises(tb.CampaignError, match="key '1' is not in doubt, nothing was settled: it is sent"):
        made.settle(tb.Status.PENDING, ["1"])


def test_files_of_the_campaign_are_known(folder: Path) -> None:
    """No output may take the place of the table, a template, the suppression list or the campaign itself."""
    shutil.copytree(SAMPLES / "receipts", "receipts", ignore=shutil.ignore_patterns("*.journal.db*"))
    made = tb.Campaign.load("receipts")
    for name in ("campaign.toml", "receipts.csv", "receipt.txt", "receipt.html", "suppressed.csv"):
        assert made.reads(folder / "receipts" / name), name
    assert not made.reads(folder / "receipts" / "report.csv")


def test_a_test_send_keeps_the_customers_unsubscribe_link_to_itself(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """A tester who clicks on it would unsubscribe the customer."""
    message = tb.MailMerge(
        from_="shop@acme.example", to="{{ email }}", text="Hello", list_unsubscribe="https://acme.example/u?{{ id }}"
    )
    made = campaign(message=message)
    assert len(list(made.send_test("me@acme.example", people(), client))) == 1
    (arrived,) = sandbox.messages()
    assert "me@acme.example" in arrived["to"]
    assert not [name for name in arrived["custom_headers"] if name.lower().startswith("list-unsubscribe")]


# Ctrl-C at any moment


WATCHED = {"run.py", "campaign.py", "descriptors.py"}


class Presser:
    """Presses Ctrl-C at the `nth` moment when the main thread enters or leaves a function that makes or starts a run.

    Python looks for signals there and at few other places; at some of these its own locks wouldn't survive one.
    """

    def __init__(self, nth: int) -> None:
        self.left = nth

    def __call__(self, frame: FrameType, event: str, _arg: object) -> Any:
        name = Path(frame.f_code.co_filename).name
        place = (name, frame.f_code.co_name)
        if event != "line" and (name in WATCHED or place == ("threading.py", "start")):
            self.left -= 1
            if self.left == 0:
                raise KeyboardInterrupt
        return self

    @contextmanager
    def pressing(self) -> Iterator[None]:
        before = sys.gettrace()
        sys.settrace(self)
        try:
            yield
        finally:
            sys.settrace(before)


def handed(fake: FakeTransport, _concurrency: int) -> FakeTransport:
    return fake


@pytest.mark.unmeasured
def test_a_ctrl_c_while_a_run_starts_leaves_no_row_in_doubt() -> None:
    """At each step in turn: what has begun to post is waited for, and the next run sends the rest, each row once."""
    table = people(3)
    for nth in itertools.count(1):
        made = campaign(name=f"orders-{nth}")
        plan = made.plan(table)
        fake = FakeTransport(latency=0.001)
        client = tb.TurboClient(consumer_key="k", consumer_secret="s", transport=functools.partial(handed, fake))
        presser = Presser(nth)
        try:
            with presser.pressing():
                made.start(plan, client)
        except KeyboardInterrupt:
            begun = active_run((made.journal_path, made.name))
            if begun is None:
                assert fake.requests == []
                assert made.journal_path.resolve() not in OPEN  # another process can use it
            else:
                begun.stop()
                assert begun.wait(60)
        else:
            assert presser.left > 0, "the Ctrl-C got lost"
            break
        assert active_run((made.journal_path, made.name)) is None
        assert made.in_doubt() == []
        made.send(table, client, progress=False)
        assert sorted(request["reference_id"] for request in fake.requests) == ["0", "1", "2"]
    assert nth > 5


@pytest.mark.unmeasured
def test_a_check_in_parts_has_one_type_for_each_column(folder: Path) -> None:
    """Wherever the first problem is: a part without any decides for the whole file."""
    for bad in ([5], [2100], []):
        table = people(2500, email=["broken" if n in bad else f"p{n}@example.org" for n in range(2500)])
        tb.write_report((part.frame() for part in campaign().checking(table)), folder / "p.parquet")
        read = pd.read_parquet(folder / "p.parquet")
        assert read["row"].tolist() == bad
        assert read["row"].dtype == "int64"
