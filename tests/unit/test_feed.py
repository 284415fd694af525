"""What a run is to do with each row follows from the table, the merge and the journal alone."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from turbobatch.engine import Candidate
from turbobatch.errors import CampaignError
from turbobatch.events import Known, Settled
from turbobatch.feed import Feed, Preparation, is_final, look_up
from turbobatch.journal import Intent, Outcome, SqliteJournal
from turbobatch.merge import MailMerge
from turbobatch.policy import Status
from turbobatch.recipients import open_table
from turbobatch.sendapi import V1, V2
from turbobatch.testing import fields_of
from turbobatch.units import Finder, Layout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from turbobatch.engine import FeedItem

PEOPLE = pd.DataFrame({"id": ["a", "b", "c"], "email": ["ana@example.org", "bo@example.org", "cy@example.org"]})
SUBJECT = "Your receipt {{ id }}"


def feed(
    journal: SqliteJournal,
    data: pd.DataFrame = PEOPLE,
    *,
    key: str | None = "id",
    group_by: str | None = None,
    message: Mapping[str, Any] | None = None,
    suppressed: Mapping[str, str] | None = None,
    api: str = "v2",
    **options: Any,
) -> Feed:
    table = open_table(data)
    fields = {"from_": "shop@acme.example", "to": "{{ email }}", "subject": SUBJECT, "text": "Hello", **(message or {})}
    layout = Layout(table.columns, (key,) if key else (), (group_by,) if group_by else ())
    prepare = Preparation(
        campaign="receipts",
        merger=MailMerge(**fields).bind(table.columns),
        api=V2("https://api.example", "k", "s") if api == "v2" else V1("https://api.example", "u", "p"),
        suppressed=suppressed or {},
    )
    return Feed(table=table, layout=layout, prepare=prepare, journal=journal, **options)


def record(journal: SqliteJournal, key: str, status: Status, *, digest: str = "old") -> None:
    """Bring a key into a status as a run would."""
    posted = status not in (Status.INVALID, Status.SUPPRESSED)
    if posted:
        journal.commit([Intent(key=key, digest=digest, time=1.0)], [])
    journal.commit([], [Outcome(key=key, status=status, message="", time=2.0, posted=posted)])


def only(item: FeedItem) -> Candidate:
    assert isinstance(item, Candidate)
    return item


class TestCandidates:
    def test_are_the_rows_not_known_yet(self, journal: SqliteJournal) -> None:
        """In the table's order, each with the POST that sends it."""
        found = [only(item) for item in feed(journal)]
        assert [(item.number, item.size, item.key, item.resend) for item in found] == [
            (0, 1, "a", False),
            (1, 1, "b", False),
            (2, 1, "c", False),
        ]
        assert fields_of(found[1].request)["subject"] == "Your receipt b"

    def test_carry_the_key_and_the_campaign_for_the_vendors_analytics(self, journal: SqliteJournal) -> None:
        """Unless the message has a reference of its own."""
        fields = fields_of(only(next(iter(feed(journal)))).request)
        assert (fields["reference_id"], fields["X-campaign-ID"]) == ("a", "receipts")
        own = feed(journal, message={"reference_id": "ref {{ id }}"})
        assert fields_of(only(next(iter(own))).request)["reference_id"] == "ref a"

    def test_carry_a_digest_of_whom_they_go_to(self, journal: SqliteJournal) -> None:
        """Everybody's address and nothing else of the email: what stays the same under another key and text."""
        message = {"to": "{{ id }} <{{ email }}>", "cc": "boss@acme.example"}
        found = [only(item).recipients for item in feed(journal, message=message)]
        assert len(set(found)) == 3
        changed = {"to": "boss@acme.example", "bcc": "{{ email | upper }}", "text": "Bye"}
        assert [only(item).recipients for item in feed(journal, key="email", message=changed)] == found

    def test_without_a_key_column_are_told_apart_by_content(self, journal: SqliteJournal) -> None:
        """The digest is the key, and the second run knows it again."""
        found = [only(item) for item in feed(journal, key=None)]
        assert all(item.key == item.digest for item in found)
        record(journal, found[0].key, Status.SENT)
        assert next(iter(feed(journal, key=None))) == Known(Counter({Status.SENT: 1}))

    def test_of_a_group_are_one_for_all_its_rows(self, journal: SqliteJournal) -> None:
        """Its size is how many rows share the verdict."""
        data = pd.DataFrame({"id": ["a", "b", "a"], "email": ["ana@example.org"] * 3})
        items = [only(item) for item in feed(journal, data, group_by="id")]
        assert [(item.number, item.size) for item in items] == [(1, 1), (0, 2)]

    def test_come_in_the_hundreds(self, journal: SqliteJournal) -> None:
        """More rows than are looked up at once."""
        data = pd.DataFrame({"id": range(450), "email": [f"p{number}@example.org" for number in range(450)]})
        assert [only(item).key for item in feed(journal, data)] == [str(number) for number in range(450)]


class TestKnown:
    @pytest.mark.parametrize("status", list(Status))
    def test_statuses_that_a_run_leaves_alone(self, journal: SqliteJournal, status: Status) -> None:
        """What was sent or may have been stays; everything else is tried again."""
        if status is Status.DUPLICATE:
            return
        record(journal, "b", status)
        item = list(feed(journal))[1]
        if status in (Status.SENT, Status.IN_DOUBT):
            assert item == Known(Counter({status: 1}))
        else:
            assert only(item).key == "b"

    def test_rejected_rows_stay_so_until_their_email_changes(self, journal: SqliteJournal) -> None:
        """The same email would be refused again; a corrected one gets its chance."""
        digest = only(list(feed(journal))[1]).digest
        record(journal, "b", Status.REJECTED, digest=digest)
        assert list(feed(journal))[1] == Known(Counter({Status.REJECTED: 1}))
        corrected = PEOPLE.assign(email=PEOPLE["email"].str.replace("bo@", "bob@"))
        assert only(list(feed(journal, corrected))[1]).key == "b"

    def test_rows_in_doubt_go_out_again_where_the_user_says_so(self, journal: SqliteJournal) -> None:
        """They are marked, as the journal refuses them otherwise; what was sent stays sent."""
        record(journal, "a", Status.SENT)
        record(journal, "b", Status.IN_DOUBT)
        items = list(feed(journal, resend=True))
        assert items[0] == Known(Counter({Status.SENT: 1}))
        assert [only(item).resend for item in items[1:]] == [True, False]

    def test_rows_in_doubt_stay_so_where_they_can_not_be_posted_again(self, journal: SqliteJournal) -> None:
        """The address is broken now; what became of the first email is as unknown as before."""
        record(journal, "b", Status.IN_DOUBT)
        broken = PEOPLE.assign(email=["ana@example.org", "bo@@", "cy@example.org"])
        assert list(feed(journal, broken, resend=True))[1] == Known(Counter({Status.IN_DOUBT: 1}))

    def test_a_final_row_needs_no_merge(self, journal: SqliteJournal) -> None:
        """A sent row whose address is broken by now was still sent."""
        record(journal, "b", Status.SENT)
        broken = PEOPLE.assign(email=["ana@example.org", "bo@@", "cy@example.org"])
        assert list(feed(journal, broken))[1] == Known(Counter({Status.SENT: 1}))

    def test_is_final_asks_the_journal_alone(self, journal: SqliteJournal) -> None:
        """Sent always, in doubt unless it is sent again."""
        record(journal, "a", Status.SENT)
        record(journal, "b", Status.IN_DOUBT)
        known = journal.lookup(["a", "b"])
        assert [is_final(known[key].status, resend=resend) for key in "ab" for resend in (False, True)] == [
            *(True, True),
            *(True, False),
        ]


class TestSettled:
    def test_rows_that_can_not_be_merged_are_invalid(self, journal: SqliteJournal) -> None:
        """The status goes into the journal, worded like the API's own errors, and the next row goes on."""
        broken = PEOPLE.assign(email=["ana@example.org", "bo@@", "cy@example.org"])
        items = list(feed(journal, broken))
        settled = items[1]
        assert isinstance(settled, Settled)
        assert (settled.number, settled.status, settled.key) == (1, Status.INVALID, "b")
        assert settled.message.startswith("row 1: column 'email': ")
        assert settled.outcome is not None
        assert (settled.outcome.posted, settled.outcome.key) == (False, "b")
        assert settled.outcome.errors == ("'bo@@' 'to' email not valid",)
        assert only(items[2]).key == "c"

    def test_rows_without_a_key_are_invalid_and_not_journalled(self, journal: SqliteJournal) -> None:
        """There is nothing to remember them by."""
        settled = list(feed(journal, PEOPLE.assign(id=["a", "", "c"])))[1]
        assert isinstance(settled, Settled)
        assert (settled.status, settled.key, settled.outcome) == (Status.INVALID, None, None)

    def test_duplicates_leave_the_first_rows_entry_alone(self, journal: SqliteJournal) -> None:
        """They are told, not journalled."""
        settled = list(feed(journal, PEOPLE.assign(id=["a", "b", "a"])))[2]
        assert isinstance(settled, Settled)
        assert (settled.status, settled.key, settled.outcome) == (Status.DUPLICATE, "a", None)

    @pytest.mark.parametrize("field", ["to", "cc", "bcc"])
    def test_suppressed_addresses_get_nothing(self, journal: SqliteJournal, field: str) -> None:
        """Whatever their letter case and whichever field names them; the reason is told."""
        message = {"to": "shop@acme.example", field: "{{ email }}"}
        data = PEOPLE.assign(email=["ana@example.org", "Bo@Example.ORG", "cy@example.org"])
        items = list(feed(journal, data, message=message, suppressed={"bo@example.org": "unsubscribed"}))
        settled = items[1]
        assert isinstance(settled, Settled)
        assert settled.status is Status.SUPPRESSED
        assert settled.outcome is not None
        assert "is suppressed (unsubscribed)" in settled.message
        assert [isinstance(item, Candidate) for item in items] == [True, False, True]

    def test_emails_over_the_apis_size_are_invalid(self, journal: SqliteJournal) -> None:
        """Found out before anything travels, with what to do about it."""
        data = pd.DataFrame({"id": ["a"], "email": ["ana@example.org"], "body": ["x" * 5 * 1024 * 1024]})
        message = {"text": "{{ body }}"}
        (settled,) = feed(journal, data, message=message, api="v1")
        assert isinstance(settled, Settled)
        assert settled.status is Status.INVALID
        assert "over the 4 MB that v1 takes" in settled.message
        assert "send less" in settled.message
        assert only(next(iter(feed(journal, data, message=message, api="v2")))).key == "a"


class TestLimit:
    def test_bounds_the_posts_not_the_rows(self, journal: SqliteJournal) -> None:
        """Known and invalid rows don't count; what comes after the last POST isn't looked at."""
        data = pd.DataFrame(
            {"id": list("abcdef"), "email": ["p@@", *(f"p{number}@example.org" for number in range(5))]}
        )
        record(journal, "b", Status.SENT)
        kinds = [type(item).__name__ for item in feed(journal, data, limit=2)]
        assert kinds == ["Settled", "Known", "Candidate", "Candidate"]

    def test_of_none_posts_nothing(self, journal: SqliteJournal) -> None:
        """A dry run of a kind."""
        assert list(feed(journal, limit=0)) == []


def test_a_table_that_is_sent_is_not_walked(journal: SqliteJournal, tmp_path: Path) -> None:
    """One told all at once; a file that was changed since is refused all the same."""
    PEOPLE.to_csv(tmp_path / "people.csv", index=False)
    table = open_table(tmp_path / "people.csv")
    walked = dataclasses.replace(feed(journal), table=table)
    assert list(dataclasses.replace(walked, sent=3)) == [Known(Counter({Status.SENT: 3}))]
    (tmp_path / "people.csv").write_text("id,email\n")
    with pytest.raises(CampaignError, match=r"people\.csv was changed while it was in use"):
        list(dataclasses.replace(walked, sent=3))


def test_look_up_joins_rows_and_journal(journal: SqliteJournal) -> None:
    """Results walk the table the same way; a duplicate isn't given the first row's entry."""
    record(journal, "a", Status.SENT)
    it = feed(journal, PEOPLE.assign(id=["a", "b", "a"]))
    ((batch, entries),) = look_up(Finder(it.layout, it.prepare.merger).batches(it.table), journal)
    joined = zip(batch.findings, entries, strict=True)
    assert [(item.key, item.status, entry and entry.status) for item, entry in joined] == [
        ("a", None, Status.SENT),
        ("b", None, None),
        ("a", Status.DUPLICATE, None),
    ]


def test_bodies_are_the_only_place_of_the_message(journal: SqliteJournal) -> None:
    """Neither a candidate's nor a request's repr shows bodies or credentials."""
    item = only(next(iter(feed(journal))))
    assert "Hello" in json.dumps(fields_of(item.request))
    assert "Hello" not in repr(item)
    assert "consumerSecret" not in repr(item)
