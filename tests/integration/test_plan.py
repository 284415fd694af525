"""What is found out before anything is sent: emails that look like ones that have left already."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb
from turbobatch.journal import read_journal

if TYPE_CHECKING:
    from pathlib import Path

    from turbobatch.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("folder")


def campaign(text: str = "Dear {{ name }}", name: str = "news", **changes: Any) -> tb.Campaign:
    """A newsletter, whose content doesn't say its key."""
    message = tb.MailMerge(from_="Acme <shop@acme.example>", to="{{ name }} <{{ email }}>", subject="News", text=text)
    return tb.Campaign(name=name, message=message, **changes)


def people(first: int = 0, count: int = 3) -> pd.DataFrame:
    """A table of good rows."""
    numbers = range(first, first + count)
    return pd.DataFrame(
        {"id": list(numbers), "name": [f"P {n}" for n in numbers], "email": [f"p{n}@example.org" for n in numbers]}
    )


def test_a_changed_template_sends_again_only_with_consent(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Without a key column it makes each row a new email: neither send nor start does that unasked."""
    campaign().send(people(), client, progress=False)
    changed = campaign("Dear {{ name }}!")
    said = (
        r"^3 emails of this campaign have left under keys that this table doesn't have, and 3 of the 3 to be sent go "
        r"to the very recipients of such emails \(key '\w{32}' and key '\w{32}'\): without a key column, a changed "
        r"template .*; undo the change, or send them all the same with accept_changes=True"
    )
    with pytest.raises(tb.CampaignError, match=said):
        changed.send(people(), client, progress=False)
    with pytest.raises(tb.CampaignError, match="accept_changes"):
        changed.start(people(), client)
    assert sandbox.requests_seen() == 3
    results = changed.send(people(), client, accept_changes=True, progress=False)
    assert set(results["send_status"]) == {"sent"}
    assert sandbox.requests_seen() == 6


def test_another_key_column_sends_again_only_with_consent(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """The same emails under other keys are recognised by their content, also where more rows have come."""
    campaign(key="id").send(people(), client, progress=False)
    changed = campaign(key="email")
    with pytest.raises(
        tb.CampaignError, match=r"\(key 'p0@example\.org' and key '0', word for word the same\): as after a"
    ):
        changed.send(people(count=5), client, progress=False)
    assert sandbox.requests_seen() == 3
    run = changed.start(people(), client, accept_changes=True)
    assert run.wait(60)
    assert sandbox.requests_seen() == 6


def test_the_next_customers_need_no_consent(
    sandbox: Sandbox, client: tb.TurboClient, caplog: pytest.LogCaptureFixture
) -> None:
    """With a key column, new rows in place of old ones are an ordinary batch: told, and sent."""
    campaign(key="id").send(people(), client, progress=False)
    with caplog.at_level(logging.WARNING, "turbobatch"):
        campaign(key="id").send(people(3), client, progress=False)
    assert sandbox.requests_seen() == 6
    assert "3 emails of this campaign have left under keys that this table doesn't have" in caplog.text


# A table of orders: the key, and who gets the email
WITH_KEY = "Order {{ id }}"  # a text that prints its key
STATIC = "Thank you for your order"


def orders(*rows: tuple[str, str]) -> pd.DataFrame:
    """A table of orders, each with its key and its customer."""
    return pd.DataFrame(
        {"id": [key for key, _ in rows], "name": "Customer", "email": [f"{who}@example.org" for _, who in rows]}
    )


def numbered(first: int, count: int, key: str = "{}") -> pd.DataFrame:
    """Orders of a customer each."""
    return orders(*((key.format(number), f"p{number}") for number in range(first, first + count)))


def sent(client: tb.TurboClient, table: pd.DataFrame, **kinds: Any) -> None:
    """Send all of a table; nothing speaks against it."""
    results = campaign(**kinds).send(table, client, progress=False)
    assert set(results["send_status"]) == {"sent"}


def test_keys_that_a_spreadsheet_has_rewritten(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Excel strips leading zeros, and the text prints the key: neither keys nor contents are the same."""
    sent(client, numbered(1, 1000, "{:05}"), text=WITH_KEY, key="id")
    said = (
        r"and 1000 of the 1000 to be sent go to .* \(key '1' and key '00001'\): as after a change of the key column, or"
    )
    with pytest.raises(tb.CampaignError, match=said):
        campaign(WITH_KEY, key="id").send(numbered(1, 1000), client, progress=False)
    assert sandbox.requests_seen() == 1000


def test_another_key_column_under_many_new_rows(client: tb.TurboClient) -> None:
    """What is new stands at the top, more than any sample holds."""
    sent(client, people(count=300), key="id")
    table = pd.concat([people(1000, 120), people(count=300)])
    assert "and 300 of the 420 to be sent go to" in campaign(key="email").plan(table).objection


def test_another_key_column_and_another_text(client: tb.TurboClient) -> None:
    """One character of the template is enough to make all contents others."""
    sent(client, people(), key="id")
    said = campaign("Dear {{ name }}!", key="email").plan(people()).objection
    assert "and 3 of the 3 to be sent go to" in said
    assert "word for word" not in said


def test_one_email_under_another_key(client: tb.TurboClient) -> None:
    """A single known customer is no sign of trouble, unless the email is word for word the same."""
    sent(client, people(count=1), key="id")
    assert "and 1 of the 1 to be sent goes to" in campaign(key="email").plan(people(count=1)).objection
    plan = campaign("Dear {{ name }}!", key="email").plan(people(count=1))
    assert (plan.objection, len(plan.warnings)) == ("", 1)


def test_emails_in_doubt_count_as_left(client: tb.TurboClient) -> None:
    """They may have arrived."""
    table = orders(("1", "reset-after"), ("2", "reset-after+2"))
    campaign(WITH_KEY, key="id").send(table, client, progress=False)
    assert campaign(WITH_KEY, key="id").in_doubt() == ["1", "2"]
    assert "and 2 of the 2" in campaign(WITH_KEY, key="id").plan(table.assign(id=["01", "02"])).objection


ONE_LEFT_AND_ONE_CAME = orders(("2", "bo"), ("3", "cy"), ("4", "di"))
CORRECTED = orders(("1", "anna"), ("2", "bo"), ("3", "cy"))
OTHERS = orders(("7", "xa"), ("8", "ya"), ("9", "za"))


@pytest.mark.parametrize("table", [ONE_LEFT_AND_ONE_CAME, CORRECTED, OTHERS], ids=["came", "corrected", "others"])
def test_without_a_key_column_other_recipients_need_no_consent(table: pd.DataFrame, client: tb.TurboClient) -> None:
    """One customer left and one came; an address was corrected; a second batch: nobody is mailed twice."""
    sent(client, orders(("1", "ana"), ("2", "bo"), ("3", "cy")))
    plan = campaign().plan(table)
    assert (plan.elsewhere > 0, plan.emails > 0) == (True, True)
    assert (plan.objection, plan.warnings) == ("", ())
    sent(client, table)


def test_a_change_is_accepted_once(client: tb.TurboClient) -> None:
    """What left before an accepted change doesn't speak against the next day's new row."""
    sent(client, people())
    changed = campaign("Dear {{ name }}!")
    changed.send(people(), client, accept_changes=True, progress=False)
    plan = changed.plan(people(count=4))
    assert (plan.emails, plan.elsewhere, plan.objection, plan.warnings) == (1, 3, "", ())


def test_a_known_customer_among_many_needs_no_consent(client: tb.TurboClient) -> None:
    """A new batch of orders with a static text: who ordered before gets another email, and that is told."""
    sent(client, numbered(0, 10), text=STATIC, key="id")
    table = pd.concat([numbered(20, 9), orders(("29", "p3"))])
    plan = campaign(STATIC, key="id").plan(table)
    assert plan.objection == ""
    (warning,) = plan.warnings
    assert warning == (
        "10 emails of this campaign have left under keys that this table doesn't have, and 1 of the 10 to be sent goes "
        "to the very recipients of such emails (key '29' and key '3', word for word the same); make sure that the keys "
        "haven't changed"
    )
    sent(client, table, text=STATIC, key="id")


@pytest.mark.parametrize(("known", "objects"), [(4, False), (5, True)])
def test_half_of_them_are_no_coincidence(known: int, objects: bool, client: tb.TurboClient) -> None:
    """Of the emails to be sent, or of those that have left, whichever are fewer."""
    sent(client, numbered(0, 10), text=WITH_KEY, key="id")
    for table in (numbered(10 - known, 40, "0{}"), numbered(10 - known, 10, "0{}")):
        assert bool(campaign(WITH_KEY, key="id").plan(table).objection) is objects


def test_new_orders_day_by_day(client: tb.TurboClient, sandbox: Sandbox) -> None:
    """One order a day, by known customers too, in a table without the old ones: sent, unless it is the same email."""
    for day, who in enumerate(["ana", "bo", "ana", "ana"]):
        sent(client, orders((str(day), who)), text=WITH_KEY, key="id")
    assert sandbox.requests_seen() == 4
    sent(client, orders(("5", "cy")), text=STATIC, key="id")
    assert "word for word" in campaign(STATIC, key="id").plan(orders(("6", "cy"))).objection


def test_several_orders_of_one_customer(client: tb.TurboClient) -> None:
    """What is counted are emails to send, however often a customer is in the table or in the journal."""
    sent(client, orders(("1", "ana"), ("2", "ana"), ("3", "bo")), text=WITH_KEY, key="id")
    table = orders(("01", "ana"), ("02", "ana"), ("03", "bo"), ("04", "cy"), ("04", "ana"))
    assert "and 3 of the 4 to be sent go to" in campaign(WITH_KEY, key="id").plan(table).objection


def test_rows_that_are_known_or_invalid_are_not_counted(client: tb.TurboClient) -> None:
    """A customer whose old order is still in the table, beside one that nothing can be sent to."""
    sent(client, orders(("1", "ana"), ("2", "bo"), ("3", "cy")), text=WITH_KEY, key="id")
    plan = campaign(WITH_KEY, key="id").plan(orders(("1", "ana"), ("4", "ana"), ("5", "ana"), ("6", "@")))
    assert (plan.elsewhere, plan.objection) == (2, "")
    (warning,) = plan.warnings
    assert warning.endswith(
        " have left under keys that this table doesn't have; make sure that the keys haven't changed"
    )


def test_groups_are_recognised_too(client: tb.TurboClient) -> None:
    """Each group is one email, to all of its rows' people, wherever they are."""
    to = "{% for row in rows %}{{ row.email }}, {% endfor %}"
    message = tb.MailMerge(from_="shop@acme.example", to=to, text=WITH_KEY)
    grouped = tb.Campaign(name="news", message=message, key="id", group_by="id")
    table = orders(("1", "ana"), ("2", "bo"), ("1", "cy"), ("2", "di"))
    grouped.send(table, client, progress=False)
    assert "and 2 of the 2" in grouped.plan(table.assign(id=["01", "02", "01", "02"])).objection
    assert grouped.plan(table.assign(id=["01", "02", "02", "01"])).objection == ""


def test_rows_that_went_need_no_consent(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Where nothing is left to send, there is nothing to accept; the same table goes on as ever."""
    first = campaign()
    first.send(people(count=4), client, limit=2, progress=False)
    assert set(first.send(people(count=1), client, progress=False)["send_status"]) == {"sent"}
    assert set(first.send(people(count=4), client, progress=False)["send_status"]) == {"sent"}
    assert sandbox.requests_seen() == 4


def test_a_run_in_background_tells_of_a_guess(
    folder: Path, client: tb.TurboClient, caplog: pytest.LogCaptureFixture
) -> None:
    """What the command line prints before it asks, a notebook finds in its log."""
    (folder / "people.csv").write_bytes("id,name,email\n1,Zo\u00eb,zoe@example.org\n".encode("cp1252"))
    with caplog.at_level(logging.WARNING, "turbobatch"):
        assert campaign(key="id").start("people.csv", client).wait(60)
    assert "people.csv is not UTF-8: read as cp1252" in caplog.text


@pytest.mark.parametrize("key", ["id", None])
def test_a_renamed_campaign_is_told_of_its_other_journal(key: str | None, client: tb.TurboClient, folder: Path) -> None:
    """Its emails have left, word for word, under another name; other contents, and other files, are no news."""
    campaign(key=key).send(people(), client, progress=False)
    (folder / "other.journal.db").write_bytes(b"no journal")
    (warning,) = campaign(key=key, name="news 2").plan(people(count=5)).warnings
    assert warning == "3 of these emails have left already by journal news.journal.db: was the campaign renamed?"
    (warning,) = campaign(key=key, name="news 2").plan(people(count=101)).warnings
    assert warning.startswith("at least 3 of these emails have left already by journal news.journal.db")
    assert campaign("Something else", key=key, name="news 2").plan(people()).warnings == ()
    assert campaign(key=key).plan(people()).warnings == ()


def is_done(made: tb.Campaign, table: pd.DataFrame) -> bool:
    with read_journal(made.journal_path, made.name) as journal:
        return made.plan(table).is_done_by(journal)


@pytest.mark.parametrize("other", [{"name": "february"}, {"key": ["id", "name"]}, {"journal": "other.db"}])
def test_a_plan_is_for_the_campaign_that_made_it(
    other: dict[str, Any], client: tb.TurboClient, sandbox: Sandbox
) -> None:
    """What is done for one is not done for another: that run would say that it has sent what it never has."""
    made = campaign(key="id")
    made.send(people(), client, progress=False)
    plan = made.plan(people())
    with pytest.raises(tb.CampaignError, match="the plan is another campaign's, or its key has changed since"):
        campaign(**{"key": "id", **other}).start(plan, client)
    assert sandbox.requests_seen() == 3


def test_a_done_plan_asks_the_journal_again(client: tb.TurboClient, sandbox: Sandbox) -> None:
    """One that was moved away in between is begun anew, and nothing counts as sent that it doesn't know."""
    made = campaign(key="id")
    made.send(people(), client, progress=False)
    plan = made.plan(people())
    made.journal_path.unlink()
    assert made.start(plan, client).wait(30)
    assert sandbox.requests_seen() == 6
    assert set(made.results(people())["send_status"]) == {"sent"}


def test_a_table_that_is_sent_is_done(client: tb.TurboClient, sandbox: Sandbox) -> None:
    """Every row, duplicates and doubts apart; a row more is a row to send."""
    made = campaign(key="id")
    assert not is_done(made, people())
    made.send(people(), client, progress=False)
    plan = made.plan(people())
    assert is_done(made, people())
    run = made.start(plan, client)
    assert run.wait(30)
    assert (run.progress.known, run.progress.rows) == (3, {tb.Status.SENT: 3})
    assert not is_done(made, pd.concat([people(), people(count=1)]))
    assert not is_done(made, people(count=4))
    made.send(people(count=4), client, progress=False)
    assert sandbox.requests_seen() == 4
