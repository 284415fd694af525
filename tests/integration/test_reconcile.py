"""Rows in doubt against the sandbox's analytics, over real sockets: what was accepted is found, what wasn't is said."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
import requests

import turbobatch as tb
from turbobatch.policy import Policy
from turbobatch.sandbox import Sandbox

PATIENT = Policy(first_wait=0.01, longest_wait=0.02, first_patience=60, patience=60, threshold=10_000)

pytestmark = pytest.mark.usefixtures("folder")


def campaign(**changes: Any) -> tb.Campaign:
    message = tb.MailMerge(
        from_="Acme <shop@acme.example>", to="{{ email }}", cc="{{ copy | default('') }}", subject="Order {{ id }}",
        text="Dear {{ email }}",
    )  # fmt: skip
    return tb.Campaign(**{"name": "orders", "message": message, "key": "id", "policy": PATIENT, **changes})


def orders(*addresses: str, **more: Any) -> pd.DataFrame:
    return pd.DataFrame({"id": list(range(len(addresses))), "email": list(addresses), "copy": None, **more})


def told(frame: pd.DataFrame) -> list[tuple[str, str]]:
    return [(str(key), str(trace)) for key, trace in zip(frame["send_key"], frame["trace"], strict=True)]


def test_what_was_accepted_is_found_and_the_rest_stays_in_doubt(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """With the message id that the answer would have told; and nothing is posted again."""
    table = orders("ana@x.example", "reset-after@x.example", "reset-before@x.example")
    spring = campaign()
    assert spring.send(table, client)["send_status"].tolist() == ["sent", "in_doubt", "in_doubt"]
    posts = sandbox.requests_seen()

    assert told(spring.reconcile(table, client, grace=0)) == [("1", "found"), ("2", "missing")]

    results = spring.results(table)
    assert results["send_status"].tolist() == ["sent", "sent", "in_doubt"]
    assert results["send_mid"].tolist()[:2] == sandbox.inbox()["mid"].tolist()
    assert spring.send(table, client)["send_status"].tolist() == ["sent", "sent", "in_doubt"]
    assert sandbox.requests_seen() == posts


def test_within_the_grace_nothing_is_said_of_what_isnt_there(client: tb.TurboClient) -> None:
    """The analytics may lag."""
    table = orders("reset-before@x.example")
    spring = campaign()
    spring.send(table, client)
    assert told(spring.reconcile(table, client)) == [("0", "too early")]


def test_where_nothing_is_in_doubt_nobody_is_asked(client: tb.TurboClient, sandbox: Sandbox) -> None:
    """Not even a host that doesn't answer."""
    table = orders("ana@x.example")
    spring = campaign()
    spring.send(table, client)
    sandbox.stop()
    assert spring.reconcile(table, client).empty


@pytest.mark.parametrize("where", ["changed", "left the table", "no table"])
def test_a_row_that_isnt_the_tables_any_more_is_found_by_whom_it_went_to(where: str, client: tb.TurboClient) -> None:
    """The journal has a digest of the recipients, of all of them."""
    table = orders("ana@x.example", "reset-after@x.example", copy=["", "boss@x.example"])
    spring = campaign()
    spring.send(table, client)
    later = table.iloc[:1] if where == "left the table" else table.assign(email="new@x.example")
    assert told(spring.reconcile(None if where == "no table" else later, client)) == [("1", "found")]
    assert spring.results(table)["send_status"].tolist() == ["sent", "sent"]


def test_a_template_that_was_changed_since_says_nothing_of_the_subject(client: tb.TurboClient) -> None:
    """The email that left had another one: whom it went to, when and with which label must do."""
    table = orders("reset-after@x.example")
    campaign().send(table, client)
    changed = tb.MailMerge(from_="a@acme.example", to="{{ email }}", subject="News {{ id }}", text="Hi")
    assert told(campaign(message=changed).reconcile(table, client)) == [("0", "found")]


def test_identical_emails_to_one_person_are_told_apart_by_nothing(client: tb.TurboClient) -> None:
    """Both were accepted, but which id is whose isn't guessed: they stay in doubt, with both ids."""
    table = pd.DataFrame({"id": [1, 2], "email": ["reset-after@x.example"] * 2})
    message = tb.MailMerge(from_="a@acme.example", to="{{ email }}", subject="Hello", text="Hi")
    spring = campaign(message=message)
    spring.send(table, client)
    found = spring.reconcile(table, client)
    assert told(found) == [("1", "unclear"), ("2", "unclear")]
    assert found["mids"].map(len).tolist() == [2, 2]


@pytest.mark.parametrize("what", ["settled by hand", "sent again"])
@pytest.mark.parametrize("recipients", ["the same", "a shared copy"])
def test_an_email_that_another_row_may_have_left_is_nobodys_proof(
    what: str, recipients: str, sandbox: Sandbox, client: tb.TurboClient
) -> None:
    """The journal doesn't know the id of what was settled by hand, nor that of a POST before the last one."""
    same = recipients == "the same"
    message = tb.MailMerge(
        from_="a@acme.example", to="{{ email }}", cc="archive@acme.example", subject="News", text="Hi"
    )
    table = pd.DataFrame({"id": ["A", "B"], "email": ["p@x.example", "p@x.example" if same else "q@x.example"]})
    spring = campaign(message=message)
    for key, fault in (("A", "reset-before"), ("B", "reset-after")):
        requests.put(f"{sandbox.url}/faults", json={fault: 1.0}, timeout=9).raise_for_status()
        spring.send(table[table["id"] == key], client, accept_changes=True)
    requests.put(f"{sandbox.url}/faults", json={}, timeout=9).raise_for_status()
    assert spring.results(table)["send_status"].tolist() == ["in_doubt", "in_doubt"]
    if what == "settled by hand":
        spring.settle(tb.Status.SENT, ["B"])
    else:
        spring.settle(tb.Status.PENDING, ["B"])
        spring.send(table, client)
    found = spring.reconcile(table, client, grace=0)
    expected = "unclear" if same else "missing"
    assert told(found) == [("A", expected)]
    assert spring.results(table)["send_status"].tolist() == ["in_doubt", "sent"]


def test_an_archives_copy_doesnt_make_emails_alike(client: tb.TurboClient) -> None:
    """Each is looked for by the address that the others haven't."""
    message = tb.MailMerge(
        from_="a@acme.example", to="{{ email }}", cc="archive@acme.example", subject="News", text="Hi"
    )
    table = pd.DataFrame(
        {"id": [1, 2, 3], "email": ["reset-before@x.example", "reset-after@y.example", "ana@x.example"]}
    )
    spring = campaign(message=message)
    spring.send(table, client)
    assert told(spring.reconcile(table, client, grace=0)) == [("1", "missing"), ("2", "found")]


def test_what_v1_sent_has_no_label_and_isnt_guessed(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """The email is there, without the campaign's name: it is said, and stays in doubt."""
    table = orders("reset-after@x.example")
    spring = campaign()
    spring.send(table, sandbox.client(api="v1"))
    assert told(spring.reconcile(table, client)) == [("0", "unclear")]


def test_v1_credentials_and_a_vendor_that_is_away_settle_nothing(sandbox: Sandbox) -> None:
    """One line each; the row stays as it was."""
    table = orders("reset-after@x.example")
    spring = campaign()
    client = sandbox.client(timeout=1)
    spring.send(table, client)
    with pytest.raises(tb.CampaignError, match="v2 credentials"):
        spring.reconcile(table, sandbox.client(api="v1"))
    sandbox.stop()
    with pytest.raises(tb.ManagementError):
        spring.reconcile(table, client)
    assert spring.results(table)["send_status"].tolist() == ["in_doubt"]


def test_after_faults_every_email_arrives_exactly_once() -> None:
    """Send, reconcile, settle what is missing as pending, send again: the ledger has each row once, none twice."""
    faults = {"reset-after": 0.15, "reset-before": 0.15, "garbage": 0.1, "502": 0.1}
    with Sandbox(faults=faults, seed=7) as sandbox:
        client = sandbox.client()
        table = orders(*(f"p{number % 40}@x.example" for number in range(120)))  # three orders for each address
        spring = campaign()
        for _ in range(30):
            results = spring.send(table, client)
            if (results["send_status"] == "sent").all():
                break
            found = spring.reconcile(table, client, grace=0)
            assert not (found["trace"] == "unclear").any()
            if missing := found.loc[found["trace"] == "missing", "send_key"].tolist():
                spring.settle(tb.Status.PENDING, missing)
        inbox = sandbox.inbox()
        assert sorted(inbox["reference_id"].astype(int)) == list(range(120))
        assert dict(zip(inbox["reference_id"], inbox["mid"], strict=True)) == dict(
            zip(results["send_key"], results["send_mid"], strict=True)
        )
        client.close()
