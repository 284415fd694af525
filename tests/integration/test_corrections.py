"""An audit that was corrected by hand and is sent: what was corrected leaves once, and nothing leaves twice."""

from __future__ import annotations

import datetime as dt
import logging
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from turbobatch.sandbox import Sandbox

ORDERS = {
    "id": ["0001", "0002", "0003", "0004", "0005"],
    "name": ["Ana", "Bo", "Cy", "Di", "Ed"],
    "email": ["ana@x.example", "bo@@x.example", "reject+cy@x.example", "reset-after+di@x.example", "ed@x.example"],
}

pytestmark = pytest.mark.usefixtures("folder")


def campaign(
    key: str | tuple[str, ...] | None = "id", text: str = "Dear {{ name }}", name: str = "orders", **options: Any
) -> tb.Campaign:
    message = tb.MailMerge(
        from_="shop@acme.example",
        to="{{ name }} <{{ email }}>",
        cc="{{ cc | default('') }}",
        subject="Order",
        text=text,
    )
    return tb.Campaign(name=name, message=message, key=key, **options)


def sent_orders(client: tb.TurboClient, key: str | None = "id", **columns: Any) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Some orders that were sent as far as they could be, and their audit: invalid, rejected, in doubt."""
    orders = pd.DataFrame(ORDERS | {"cc": ""} | columns)
    return orders, tb.audit(campaign(key).send(orders, client, progress=False))


def fixed(audit: pd.DataFrame, **addresses: str) -> pd.DataFrame:
    """The audit with other addresses for people of these names."""
    new = audit["name"].map(addresses)
    return audit.assign(email=new.where(new.notna(), audit["email"]))


def arrived(sandbox: Sandbox) -> list[str]:
    """Whom the messages went to, in the order in which they came."""
    return [", ".join(sorted(to)) if isinstance(to, list) else str(to) for to in sandbox.inbox()["to"]]


@pytest.mark.parametrize("key", ["id", None])
@pytest.mark.parametrize("ending", [".csv", ".xlsx", ".parquet", None])
def test_what_was_corrected_is_sent_and_nothing_else(
    ending: str | None, key: str | None, sandbox: Sandbox, client: tb.TurboClient, tmp_path: Path
) -> None:
    """Not what was left as it is, nor what is in doubt; and sent a second time it sends nothing."""
    orders, audit = sent_orders(client, key)
    assert audit["status"].tolist() == ["invalid", "rejected", "in_doubt"]
    before = arrived(sandbox)
    for addresses, more in (({}, []), ({"Bo": "bo@x.example", "Cy": "cy@x.example"}, ["bo@x.example", "cy@x.example"])):
        failed = fixed(audit, **addresses)
        given = failed if ending is None else tb.write_report(failed, tmp_path / f"failed{ending}")
        for _ in range(2):
            results = campaign(key).send(given, client, progress=False)
            assert [address.rpartition("<")[2].strip(">") for address in arrived(sandbox)[len(before) :]] == more
    assert results["send_status"].tolist() == ["sent", "sent", "in_doubt"]
    assert list(results.columns[:4]) == ["id", "name", "email", "cc"]
    told = campaign(key).results(orders)["send_status"].tolist()
    # Without a key, a row that couldn't be merged had none to be known by.
    assert told == ["sent", "sent" if key else "invalid", "sent", "in_doubt", "sent"]


@pytest.mark.parametrize(
    "damage",
    [
        lambda audit: audit.assign(id=audit["id"].astype(int)),
        lambda audit: audit.assign(id=audit["id"].astype(int), send_key=audit["send_key"].astype(int)),
        lambda audit: audit.assign(send_key=audit["send_key"].astype(int)),
        lambda audit: audit.assign(id=None),
    ],
)
def test_keys_that_a_spreadsheet_has_rewritten_send_nothing(
    damage: Callable[[pd.DataFrame], pd.DataFrame], sandbox: Sandbox, client: tb.TurboClient
) -> None:
    """0004 is in doubt; as 4 it would be sent a second time. One line says which row and what to do."""
    _, audit = sent_orders(client)
    before = sandbox.requests_seen()
    with pytest.raises(tb.CampaignError, match="format the column as text and put the key back") as raised:
        campaign().send(damage(fixed(audit, Bo="bo@x.example", Di="di@x.example")), client, progress=False)
    assert str(raised.value).startswith("row 0: ")
    assert sandbox.requests_seen() == before


def delivered(results: pd.DataFrame) -> pd.DataFrame:
    """Results as they are joined with deliveries, where Ed's email bounced."""
    bounced = results["name"] == "Ed"
    told = {"delivery_status": "bounced", "delivery_address": "ed@x.example", "delivery_reason": "no such user"}
    return results.assign(**{name: bounced.map({True: text}).astype("string") for name, text in told.items()})


@pytest.mark.parametrize("key", ["id", None])
def test_an_email_that_bounced_is_not_sent_again(
    key: str | None, sandbox: Sandbox, client: tb.TurboClient, caplog: pytest.LogCaptureFixture
) -> None:
    """It has left: the run says so and how it can go to another address; under another name it does."""
    orders, _ = sent_orders(client, key)
    audit = tb.audit(delivered(campaign(key).results(orders)))
    before = sandbox.requests_seen()
    caplog.clear()
    failed = fixed(audit[audit["name"] == "Ed"], Ed="ed@y.example")
    with caplog.at_level(logging.WARNING, "turbobatch"):
        campaign(key).send(failed, client, progress=False)
    assert sandbox.requests_seen() == before
    (said,) = [line for line in caplog.messages if line.startswith("the DataFrame")]
    assert said == (
        "the DataFrame: 1 row has left, or may have, and isn't sent again, corrected or not; "
        "to send it with another campaign, delete the audit's own columns"
    )
    again = campaign(key, name="orders-again")
    with pytest.raises(tb.CampaignError, match="this campaign knows no key"):
        again.send(failed, client, progress=False)
    results = again.send(failed[["id", "name", "email", "cc"]], client, progress=False)
    assert results["send_status"].tolist() == ["sent"]
    assert arrived(sandbox)[-1].endswith("ed@y.example>")


def test_without_a_key_a_change_makes_no_new_email_of_one_in_doubt(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Its content made its key, which stays its own."""
    orders, audit = sent_orders(client, None)
    before = sandbox.requests_seen()
    changed = audit.assign(name=audit["name"].replace("Di", "Diana"))
    plan = campaign(None).plan(changed)
    assert (plan.rows, plan.known, plan.warnings) == (3, {"in_doubt": 1}, ())
    results = campaign(None).send(changed, client, progress=False)
    assert results["send_status"].tolist() == ["invalid", "rejected", "in_doubt"]
    assert results["send_key"].tolist() == campaign(None).results(orders)["send_key"].tolist()[1:4]
    assert sandbox.requests_seen() == before


def test_without_a_key_a_corrected_row_in_doubt_leaves_once(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Once it is settled that it hasn't: by its audit, and then not by its table again."""
    orders, audit = sent_orders(client, None)
    failed = fixed(audit, Cy="cy@x.example", Di="di@x.example")
    own = campaign(None)
    own.send(failed, client, progress=False)
    assert own.settle(tb.Status.PENDING) == 1
    before = len(arrived(sandbox))
    for recipients, statuses in (
        (failed, ["invalid", "sent", "sent"]),
        (orders, ["sent", "invalid", "sent", "sent", "sent"]),
        (failed, ["invalid", "sent", "sent"]),
    ):
        assert own.plan(recipients).objection == ""
        assert own.send(recipients, client, progress=False)["send_status"].tolist() == statuses
        assert arrived(sandbox)[before:] == ["Di <di@x.example>"]
    assert own.plan(orders).known == {"sent": 4}


WRONG = ["reject+ana@x.example", "reject+bo@x.example", "reject+b@x.example"]
ZOE = {
    "id": ["1", "2", "3"],
    "name": ["Ana", "Zoe", "Cy"],
    "email": ["ana@x.example", "zoe@@x.example", "cy.x.example"],
    "cc": "",
}


@pytest.mark.parametrize("key", ["email", ("id", "email")])
@pytest.mark.parametrize("ending", [".csv", ".xlsx", None])
def test_a_corrected_address_may_be_the_key(
    ending: str | None, key: Any, sandbox: Sandbox, client: tb.TurboClient, tmp_path: Path
) -> None:
    """The row keeps the key that it had, so that its table knows that it was sent."""
    people, own = pd.DataFrame(ZOE), campaign(key)
    failed = fixed(tb.audit(own.send(people, client, progress=False)), Zoe="zoe@x.example", Cy="cy@x.example")
    given = failed if ending is None else tb.write_report(failed, tmp_path / f"failed{ending}")
    assert own.plan(given).emails == 2
    assert own.check(given).empty
    assert own.preview(given, row=1).key == failed["send_key"].tolist()[1]
    for recipients, count in ((given, 2), (given, 2), (people, 3)):
        results = own.send(recipients, client, progress=False)
        assert results["send_status"].tolist() == ["sent"] * count
        assert results["send_key"].tolist()[-2:] == failed["send_key"].tolist()
        assert len(arrived(sandbox)) == 3
    assert own.plan(people).known == {"sent": 3}


def test_a_number_in_a_key_beside_an_address_is_no_correction(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """A spreadsheet rewrites it."""
    people, own = pd.DataFrame(ZOE), campaign(("id", "email"))
    failed = fixed(tb.audit(own.send(people, client, progress=False)), Zoe="zoe@x.example")
    before = sandbox.requests_seen()
    with pytest.raises(tb.CampaignError, match=r"'id', 'email' makes the key '02\|zoe@x.example', but the key was"):
        own.send(failed.assign(id="02"), client, progress=False)
    assert sandbox.requests_seen() == before


@pytest.mark.parametrize("key", ["email", None])
def test_what_corrections_make_the_same_leaves_once(key: str | None, sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Of rows that would have been duplicates one is sent, and none where the email has left before."""
    people = pd.DataFrame({"id": "1", "name": "Ana", "cc": ""} | {"email": ["ana@x.example", *WRONG]})
    own = campaign(key)
    audit = tb.audit(own.send(people, client, progress=False))
    failed = audit.assign(email=["ana@x.example", "bo@x.example", "bo@x.example"])
    assert (
        "the DataFrame: 2 rows make the same emails as others now and are left out: row 0" in own.plan(failed).warnings
    )
    for _ in range(2):
        assert own.send(failed, client, progress=False)["send_status"].tolist() == ["sent"]
    assert arrived(sandbox) == ["Ana <ana@x.example>", "Ana <bo@x.example>"]


def test_customers_who_have_got_other_orders_are_no_objection(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """The plan looks for tables whose keys were changed; an audit's keys are known to be the same."""
    addresses = ["ana@x.example", "ana@x.example", "ana@@x.example", "ana@@x.example", "ana@x.example"]
    _, audit = sent_orders(client, email=addresses, name="Ana")
    plan = campaign().plan(fixed(audit, Ana="ana@x.example"))
    assert (plan.emails, plan.objection, plan.warnings) == (2, "", ())
    campaign().send(fixed(audit, Ana="ana@x.example"), client, progress=False)
    assert len(arrived(sandbox)) == 5


def test_two_bad_addresses_of_one_row_are_one_email(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Corrected each in its own line."""
    _, audit = sent_orders(client, cc=["", "hal@@x.example", "", "", ""])
    assert audit["row"].tolist() == [1, 1, 2, 3]
    failed = audit.assign(
        email=["bo@x.example", *audit["email"].iloc[1:]],
        cc=[audit["cc"].iloc[0], "hal@x.example", *audit["cc"].iloc[2:]],
    )
    results = campaign().send(failed, client, progress=False)
    assert results["send_status"].tolist() == ["sent", "rejected", "in_doubt"]
    message = sandbox.inbox().iloc[-1]
    assert ("bo@x.example" in str(message["to"]), "hal@x.example" in str(message["cc"])) == (True, True)


@pytest.mark.parametrize("key", ["id", None])
def test_a_groups_rows_count_once(key: str | None, sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Each in the order of the table that was sent, however the audit is sorted, and however many errors a row has."""
    lines = pd.DataFrame(
        {
            "id": ["1", "2", "1", "2", "1"],
            "name": "Ana",
            "email": ["ana@@x.example", "bo@x.example"] * 2 + ["ana@@x.example"],
            "cc": ["hal@@x.example", ""] * 2 + ["hal@@x.example"],
            "item": list("ABCDE"),
        }
    )
    text = "{% for row in rows %}{{ row.item }}{% endfor %}"
    grouped = campaign(key, text, group_by="id")
    audit = tb.audit(grouped.send(lines, client, progress=False))
    assert audit["row"].tolist() == [0, 0, 2, 2, 4, 4]
    failed = audit.replace({"ana@@x.example": "ana@x.example", "hal@@x.example": "hal@x.example"}).iloc[::-1]
    results = grouped.send(failed, client, progress=False)
    assert results["send_status"].tolist() == ["sent"] * 3
    assert sorted(sandbox.inbox()["content"].str.strip()) == ["ACE", "BD"]
    grouped.send(failed, client, progress=False)
    assert len(sandbox.inbox()) == 2


def test_a_group_that_is_corrected_in_part_is_refused(sandbox: Sandbox, client: tb.TurboClient) -> None:
    """It would leave with a part of its rows."""
    lines = pd.DataFrame({"id": "1", "name": "Ana", "email": "ana@@x.example", "cc": "", "item": list("AB")})
    grouped = campaign(group_by="email")
    audit = tb.audit(grouped.send(lines, client, progress=False))
    failed = audit.assign(email=["ana@x.example", "ana@@x.example"])
    with pytest.raises(
        tb.CampaignError, match="row 0 and row 1 were one email, and 'email' differs in them: correct both"
    ):
        grouped.send(failed, client, progress=False)
    assert sandbox.inbox().empty


@pytest.mark.parametrize("key", ["email", None])
def test_groups_that_corrections_unite_are_refused(key: str | None, sandbox: Sandbox, client: tb.TurboClient) -> None:
    """Which of the two emails has which rows can't be told."""
    emails = ["reject+a@x.example", "reject+b@x.example"]
    lines = pd.DataFrame({"id": "1", "name": "Ana", "email": emails, "cc": ""})
    grouped = campaign(key, group_by="email")
    failed = tb.audit(grouped.send(lines, client, progress=False)).assign(email="a@x.example")
    before = sandbox.requests_seen()
    with pytest.raises(tb.CampaignError, match="row 0 and row 1 were two emails, and 'email' is the same in them now"):
        grouped.send(failed, client, progress=False)
    assert sandbox.requests_seen() == before


DAYS = pd.to_datetime(["2026-11-01", "2026-11-02", "2026-11-03 10:30", "2026-11-04", "2026-11-05"], format="ISO8601")


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".xlsx", ".parquet", None])
@pytest.mark.parametrize(
    "keys",
    [
        [1, 2, 3, 4, 5],
        pd.array([1, 2, 3, 4, 5], "Int64"),
        [1.5, 2.0, 3.0, 4.0, 5.0],
        [Decimal("1.10"), Decimal("2.20"), Decimal("3.00"), Decimal("4.00"), Decimal("5.05")],
        [dt.date(2026, 11, day) for day in range(1, 6)],
        DAYS,
        DAYS.tz_localize("Europe/Rome"),
        ["00001", "2", "3 ", "a|b", "-5"],
    ],
    ids=["int", "Int64", "float", "decimal", "date", "datetime", "zoned", "text"],
)
def test_keys_are_the_same_however_the_audit_was_written(
    keys: Any, ending: str | None, sandbox: Sandbox, client: tb.TurboClient, tmp_path: Path
) -> None:
    """A file of texts has them as texts: what left stays away, what was corrected is sent under its own key."""
    orders, audit = sent_orders(client, id=keys)
    failed = fixed(audit, Bo="bo@x.example", Cy="cy@x.example")
    given = failed if ending is None else tb.write_report(failed, tmp_path / f"failed{ending}")
    assert campaign().send(given, client, progress=False)["send_status"].tolist() == ["sent", "sent", "in_doubt"]
    assert campaign().send(given, client, progress=False)["send_status"].tolist() == ["sent", "sent", "in_doubt"]
    assert campaign().results(orders)["send_status"].tolist() == ["sent", "sent", "sent", "in_doubt", "sent"]
    assert len(arrived(sandbox)) == 5


def test_a_check_names_the_lines_of_the_audit(client: tb.TurboClient, tmp_path: Path) -> None:
    """What is still wrong in it."""
    _, audit = sent_orders(client)
    path = tb.write_report(fixed(audit, Bo="bo@@y.example"), tmp_path / "failed.csv")
    found = campaign().check(path)
    assert found[["where", "problem"]].to_numpy().tolist() == [
        ["row 0 (line 2 of failed.csv)", "'bo@@y.example' 'to' email not valid"]
    ]


TYPED = {
    "id": [1, 2, 3],
    "name": ["Ana", "Bo", "Cy"],
    "email": ["ana@x.example", "bo@@x.example", "reject+cy@x.example"],
    "cc": "",
    "is_gift": [True, False, True],
    "count": [5, 0, 7],
    "amount": [1.5, 20.0, 1e16],
    "price": [Decimal("1.10"), Decimal("2.20"), Decimal("3.00")],
    "day": [dt.date(2026, 11, day) for day in (1, 2, 3)],
    "moment": pd.to_datetime(["2026-11-01 10:30", "2026-11-02", "2026-11-03"], format="ISO8601"),
    "tags": [["a"], ["b", "c"], []],
}
ALL_OF_IT = (
    "{{ is_gift }} {{ 1 if is_gift else 2 }} {{ 1 if count else 2 }} {{ amount }} {{ price }} {{ day }} "
    "{{ moment }} {{ tags | join('/') }}."
)


@pytest.mark.parametrize("source", [".parquet", ".jsonl", ".xlsx", None])
@pytest.mark.parametrize("key", ["id", None])
@pytest.mark.parametrize("ending", [".csv", ".tsv", ".xlsx", ".parquet"])
def test_what_was_not_corrected_is_what_it_was(  # noqa: PLR0917 - parameters
    ending: str, key: str | None, source: str | None, sandbox: Sandbox, client: tb.TurboClient, tmp_path: Path
) -> None:
    """A file of texts tells no types; the table that was sent does."""
    frame = pd.DataFrame(TYPED)
    if source is None:
        table: Any = frame
    else:
        table = tmp_path / f"orders{source}"
        if source == ".jsonl":
            frame.to_json(table, orient="records", lines=True, date_format="iso", default_handler=str)
        elif source == ".xlsx":
            frame.assign(tags=frame["tags"].map("/".join), price=1.25).to_excel(table, index=False)
        else:
            frame.to_parquet(table)
    own = campaign(key, ALL_OF_IT, recipients=table)
    expected = [own.preview(row=2).email]
    failed = tb.audit(own.send(client=client, progress=False))
    path = tb.write_report(fixed(failed, Cy="cy@x.example", Bo="bo@x.example"), tmp_path / f"failed{ending}")
    assert own.plan(path).warnings == ()
    results = own.send(path, client, progress=False)
    assert results["send_status"].tolist() == ["sent", "sent"]
    assert expected[0] is not None
    assert sandbox.inbox()["content"].tolist()[-1].strip() == expected[0].content.strip()
    assert " 2 2 " in sandbox.inbox()["content"].tolist()[-2]
    before = own.results()
    assert results["count"].tolist() == before["count"].tolist()[1:]
    assert results["is_gift"].dtype == before["is_gift"].dtype


@pytest.mark.parametrize("known", [True, False])
def test_types_that_are_lost_are_told(known: bool, client: tb.TurboClient, tmp_path: Path) -> None:
    """Where the table that was sent is another one now, or isn't at hand."""
    frame = pd.DataFrame(TYPED)
    failed = tb.audit(campaign().send(frame, client, progress=False))
    path = tb.write_report(fixed(failed, Bo="bo@x.example"), tmp_path / "failed.csv")
    other = frame.iloc[::-1].reset_index(drop=True).assign(id=[7, 8, 9])
    (said,) = campaign(recipients=other if known else None).plan(path).warnings
    why = "2 rows aren't in the DataFrame as sent" if known else "the table that was sent isn't at hand"
    assert said.startswith(f"failed.csv: {why}: values that were no texts are texts now (")


@pytest.mark.parametrize("key", ["id", None])
@pytest.mark.parametrize("ending", [".csv", ".parquet", None])
def test_a_group_that_has_lost_a_line_is_refused(
    ending: str | None, key: str | None, sandbox: Sandbox, client: tb.TurboClient, tmp_path: Path
) -> None:
    """It would leave without it, and the key would be used up."""
    lines = pd.DataFrame(
        {
            "id": list("1212"),
            "name": "Ana",
            "cc": "",
            "email": ["reject+a@x.example", "b@x.example"] * 2,
            "item": list("ABCD"),
        }
    )
    lines.to_csv(tmp_path / "orders.csv", index=False)
    grouped = campaign(
        key, "{% for row in rows %}{{ row.item }}{% endfor %}", group_by="id", recipients=tmp_path / "orders.csv"
    )
    audit = tb.audit(grouped.send(client=client, progress=False)).assign(email="a@x.example")
    before = sandbox.requests_seen()
    for left, (there, gone) in ((0, ("row 0", "row 2 (line 4")), (1, ("row 0", "row 0 (line 2"))):
        part = audit.iloc[[left]]
        given = part if ending is None else tb.write_report(part, tmp_path / f"part{ending}")
        with pytest.raises(tb.CampaignError) as raised:
            grouped.send(given, client, progress=False)
        assert str(raised.value).startswith(there)
        assert f"and {gone} of orders.csv) has no line here: put it back" in str(raised.value)
    assert sandbox.requests_seen() == before
    assert grouped.plan(audit).warnings == ()
    assert grouped.send(audit, client, progress=False)["send_status"].tolist() == ["sent", "sent"]
    assert sandbox.inbox()["content"].tolist()[-1].strip() == "AC"
    unknown = campaign(key, group_by="id").plan(audit)
    assert unknown.warnings == (
        "the DataFrame: the table that was sent isn't at hand: make sure that all lines of each group are there",
    )


def test_the_settings_name_the_table_that_was_sent(sandbox: Sandbox, client: tb.TurboClient, tmp_path: Path) -> None:
    """Where the audit is given in its place; a report doesn't take the name of either."""
    pd.DataFrame(TYPED).to_parquet(tmp_path / "orders.parquet")
    (tmp_path / "campaign.toml").write_text(
        'name = "orders"\n[recipients]\npath = "orders.parquet"\nkey = "email"\n[message]\nfrom = "shop@acme.example"\n'
        'to = "{{ email }}"\nsubject = "Order"\ntext = "order.txt"\n',
        "utf-8",
    )
    (tmp_path / "order.txt").write_text(ALL_OF_IT, "utf-8")
    first = tb.Campaign.load(tmp_path)
    audit = tb.audit(first.send(client=client, progress=False))
    expected = first.preview(row=2).email
    path = tb.write_report(fixed(audit, Cy="cy@x.example"), tmp_path / "failed.csv")
    second = tb.Campaign.load(tmp_path, recipients=path)
    assert second.plan().warnings == ()
    assert second.send(client=client, progress=False)["send_status"].tolist() == ["invalid", "sent"]
    assert expected is not None
    assert sandbox.inbox()["content"].tolist()[-1].strip() == expected.content.strip()
    assert [second.reads(tmp_path / name) for name in ("orders.parquet", "failed.csv", "new.csv")] == [
        True,
        True,
        False,
    ]
