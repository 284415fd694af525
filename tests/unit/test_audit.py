"""Audits: one row per failed address. Beside them what the commands print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from turbobatch.audit import audit
from turbobatch.campaign import Campaign
from turbobatch.errors import CampaignError
from turbobatch.failures import FailedAddress, failed_addresses, failures_in
from turbobatch.merge import MailMerge
from turbobatch.policy import MEANINGS, Status
from turbobatch.report import read_report, write_report
from turbobatch.results import RowVerdict, joined
from turbobatch.samples import copy_sample, sample
from turbobatch.wording import counts_text, failures_text

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    ("Ana", RowVerdict(Status.SENT, "OK", send_key="a")),
    ("Bea", RowVerdict(Status.REJECTED, "error", ("'b@@gmial.com' 'to' email not valid", "nonsense"), send_key="b")),
    ("Cleo", RowVerdict(Status.INVALID, "row 2: x", ("missing recipients (to)",))),
    ("Dan", RowVerdict(Status.FAILED, "no connection", send_key="d")),
    ("Eve", RowVerdict(Status.IN_DOUBT, "a POST began and no answer has come", send_key="e")),
    ("Fay", RowVerdict(Status.DUPLICATE, "row 5: same key as row 0", send_key="a")),
    ("Gus", RowVerdict(Status.SUPPRESSED, "row 6: x", ("x@y.example is suppressed (x)",), send_key="g")),
    ("Hal", RowVerdict(Status.PENDING, send_key="h")),
]


def results(rows: list[tuple[str, RowVerdict]] = ROWS, **own: Any) -> pd.DataFrame:
    return joined(pd.DataFrame({"name": [name for name, _ in rows], **own}), [verdict for _, verdict in rows])


# Audits


def test_each_failed_address_has_a_row() -> None:
    """Whatever kept a row from being sent, in the table's order; what is sent, or still to come, is left out."""
    found = audit(results()).astype(object)
    assert found.where(found.notna(), None).to_numpy().tolist() == [
        [
            "b@@gmial.com",
            "to",
            "rejected",
            "'b@@gmial.com' 'to' email not valid",
            "domain typo",
            "b@gmail.com",
            "b",
            1,
            "Bea",
        ],
        [None, None, "rejected", "nonsense", "refused by the API", None, "b", 1, "Bea"],
        [None, "to", "invalid", "missing recipients (to)", "blank", None, None, 2, "Cleo"],
        [None, None, "failed", "no connection", "not accepted", None, "d", 3, "Dan"],
        [None, None, "in_doubt", "a POST began and no answer has come", "in doubt", None, "e", 4, "Eve"],
        [None, None, "duplicate", "same key as row 0", "duplicate", None, "a", 5, "Fay"],
        ["x@y.example", None, "suppressed", "x@y.example is suppressed (x)", "suppressed", None, "g", 6, "Gus"],
    ]
    assert list(found.columns) == [*FailedAddress._fields, "name"]


@pytest.mark.parametrize(
    ("text", "address", "field"),
    [
        ("'broken@@@Address.@@' recipient email not valid", "broken@@@Address.@@", "to"),
        ("'broken2@@@Address2.@@222' bcc email not valid", "broken2@@@Address2.@@222", "bcc"),
        ("'a@' cc email not valid", "a@", "cc"),
        ("'abc' 'to' email not valid", "abc", "to"),
        ("'cc_@ab1' 'cc' email not valid", "cc_@ab1", "cc"),
        ("'o'brien@@x' 'to' email not valid", "o'brien@@x", "to"),
        ("'' 'to' email not valid", "", "to"),
        ("'x' 'reply-to' email not valid", "x", "reply-to"),
        ("missing or not valid sender email (from)", None, "from"),
        ("missing or not valid sender email (from): 'shop@'", "shop@", "from"),
        ("missing recipients (to)", None, "to"),
        ("Invalid Mime", None, None),
        ("'Ana <a@@b>' 'cc' email not valid", "a@@b", "cc"),
        ("'\"Doe' 'to' email not valid", '"Doe', "to"),
        ("name in 'to' holds a line break or control character", None, "to"),
        ("'reply-to' holds 2 addresses", None, "reply-to"),
        ("cc, line 1: TypeError: x", None, "cc"),
        ("an.a@x.example is suppressed (listed in 'to')", "an.a@x.example", None),
        ("message too large (max 24 MB)", None, None),
    ],
)
def test_the_apis_wording_is_read(text: str, address: str | None, field: str | None) -> None:
    """Both versions' words for a bad address give address and field; any other text is the reason, whole."""
    assert list(failed_addresses("rejected", "error", [text])) == [(address, field, text)]


def test_a_text_about_several_addresses_makes_a_row_for_each() -> None:
    """Whether each has a sentence of its own or they stand in one list."""
    text = "'a@@b' 'to' email not valid, 'c@@d' cc email not valid; 'e@@f,g@@h' 'bcc' email not valid"
    assert list(failed_addresses("rejected", "error", [text])) == [
        ("a@@b", "to", "'a@@b' 'to' email not valid"),
        ("c@@d", "cc", "'c@@d' cc email not valid"),
        ("e@@f", "bcc", "'e@@f,g@@h' 'bcc' email not valid"),
        ("g@@h", "bcc", "'e@@f,g@@h' 'bcc' email not valid"),
    ]


FIELDS: dict[str, Any] = {
    "from_": "a@x.example",
    "to": "{{ a }}",
    "cc": "{{ b }}",
    "bcc": "{{ c }}",
    "reply_to": "{{ d }}",
}


def test_the_field_of_a_row_that_cannot_be_merged_is_told(tmp_path: Path) -> None:
    """Also where its error names the column alone, or a template fails; of what is in none there is none."""
    message = MailMerge(**FIELDS, subject="{{ e }}", attachments=["{{ f | default('') }}"], folder=tmp_path)
    good: dict[str, str | None] = {**dict.fromkeys("abcd", "x@y.example"), "e": "s", "f": ""}
    changes = {
        "a": None,
        "b": "x@@y.example",
        "c": "x@gmial.con.",
        "d": "x@y.example, x@y.example",
        "e": None,
        "f": "g",
    }
    table = pd.DataFrame([good | {name: value} for name, value in changes.items()])
    found = audit(Campaign(name="c", message=message, journal=tmp_path / "c.db").results(table))
    assert found[["field", "category"]].astype(object).where(found.notna(), None).to_numpy().tolist() == [
        ["to", "blank"],
        ["cc", "syntax"],
        ["bcc", "domain typo"],
        ["reply-to", "row can't be merged"],
        [None, "row can't be merged"],
        [None, "row can't be merged"],
    ]


@pytest.mark.parametrize(
    ("status", "message", "error", "category"),
    [
        ("rejected", "error", "'ana@' 'to' email not valid", "syntax"),
        ("rejected", "error", "'' 'to' email not valid", "blank"),
        ("rejected", "error", "missing recipients (to)", "blank"),
        ("rejected", "error", "'ana@acme.example' 'to' email not valid", "refused by the API"),
        ("rejected", "error", "'ana@hotmial.com' recipient email not valid", "domain typo"),
        ("rejected", "error", "missing or not valid sender email (from)", "refused by the API"),
        ("rejected", "error", "Invalid Mime", "refused by the API"),
        ("rejected", "error", "nocredit", "refused by the API"),
        ("rejected", "HTTP 413: too large", "", "refused by the API"),
        ("invalid", "row 1: x", "missing or not valid sender email (from)", "blank"),
        ("invalid", "row 1: x", "missing or not valid sender email (from): 'shop@'", "syntax"),
        ("invalid", "row 1: to: column 'e' is blank; fill the cell", "column 'e' is blank", "blank"),
        ("invalid", "row 1: text: column 'e' is blank; fill the cell", "column 'e' is blank", "row can't be merged"),
        ("invalid", "row 1: x", "column 'id' is blank, and it is the key", "row can't be merged"),
        ("invalid", "row 1: x", "attachment 'a.pdf' not found", "row can't be merged"),
        ("invalid", "row 1: x", "subject of 800 characters is longer than 700", "row can't be merged"),
        ("failed", "no connection (refused)", "", "not accepted"),
        ("in_doubt", "'ana@' 'to' email not valid", "", "in doubt"),
        ("duplicate", "row 1 (line 3 of people (2).csv): same key as row 0", "", "duplicate"),
        ("suppressed", "row 1: x", "ana@gmial.com is suppressed (spam)", "suppressed"),
        ("rejected", "something quite new", "", "refused by the API"),
    ],
)
def test_every_failure_has_a_category(status: str, message: str, error: str, category: str) -> None:
    """In words that people sort by; what nobody has thought of is of the kind that its status tells."""
    verdict = RowVerdict(Status(status), message, (error,) if error else ())
    (found,) = failures_in(results([("Ana", verdict)]), 0)
    assert (found.category, found.reason in (message, error, "same key as row 0")) == (category, True)


def test_without_errors_the_message_or_the_status_is_the_reason() -> None:
    """There is always a reason."""
    assert list(failed_addresses("failed", "no connection", [])) == [(None, None, "no connection")]
    assert list(failed_addresses("failed", "", [])) == [(None, None, "failed")]


def test_chunks_make_the_same_audit_as_the_whole() -> None:
    """Rows are counted on, also from a given start."""
    frame = results()
    assert_frame_equal(audit(iter([frame.iloc[:3], frame.iloc[3:]])), audit(frame))
    assert audit(frame, start=100)["row"].tolist() == [101, 101, 102, 103, 104, 105, 106]


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
def test_a_report_that_was_written_gives_the_same_audit(ending: str, tmp_path: Path) -> None:
    """Audits are made of results or of any report that can be read back."""
    report = write_report(results(), tmp_path / f"report{ending}")
    assert_frame_equal(audit(read_report(report)).astype(str), audit(results()).astype(str))


def test_nothing_failed_is_an_audit_without_rows() -> None:
    """The columns are there all the same."""
    for frame in (results(ROWS[:1]), results([])):
        found = audit(frame)
        assert (len(found), list(found.columns)) == (0, [*FailedAddress._fields, "name"])
    assert list(audit([]).columns) == list(FailedAddress._fields)


def test_own_columns_called_like_the_audits_are_kept_under_another_name() -> None:
    """No name stands twice, and nothing of the row is lost."""
    own: dict[str, Any] = {"address": [f"{number} High St" for number in range(len(ROWS))], "row": "y", "row.row": "z"}
    found = audit(results(**own))
    assert list(found.columns) == [*FailedAddress._fields, "name", "row.address", "row.row", "row.row.row"]
    assert found["row"].tolist() == [1, 1, 2, 3, 4, 5, 6]
    assert found["row.address"].tolist() == [f"{number} High St" for number in found["row"]]
    assert set(found["row.row"]) | set(found["row.row.row"]) == {"y", "z"}


def test_sent_rows_that_did_not_arrive_are_listed_where_deliveries_are_known() -> None:
    """By the vendor's word for what became of them; what was delivered, or isn't known, is left out."""
    frame = results([(name, RowVerdict(Status.SENT, "OK", send_key=name)) for name in "abcdef"])
    frame["delivery_status"] = pd.array(["delivered", "bounced", "bounced", "complaint", None, "dropped"], "string")
    frame["delivery_address"] = ["a@x.example", "b@gmial.com", "c@x.example", "d@x.example,e@gmial.com", None, None]
    frame["delivery_reason"] = [None, "no such host", "mailbox full", None, None, "spam"]
    found = audit(frame)
    assert list(found.columns) == [*FailedAddress._fields, "name"]
    wanted = found[["row", "address", "status", "reason", "category", "suggestion"]].astype(object)
    assert wanted.where(wanted.notna(), None).to_numpy().tolist() == [
        [1, "b@gmial.com", "sent", "no such host", "domain typo", "b@gmail.com"],
        [2, "c@x.example", "sent", "mailbox full", "bounced", None],
        [3, "d@x.example", "sent", "complaint", "complaint", None],
        [3, "e@gmial.com", "sent", "complaint", "complaint", "e@gmail.com"],
        [5, None, "sent", "spam", "dropped", None],
    ]


def test_what_are_no_results_is_one_line() -> None:
    """A table that nobody sent can't be audited."""
    with pytest.raises(CampaignError, match="these are no results, they have no column 'send_status'"):
        audit(pd.DataFrame({"a": [1]}))


# What the commands print


def test_counts_are_told_with_their_meaning() -> None:
    """One line per status that occurs, and the number of rows."""
    assert counts_text(["sent", "sent", "in_doubt"]) == (
        "        2 sent       the API answered OK\n"
        "        1 in_doubt   a POST began and no verdict came\n"
        "        3 rows\n"
    )
    assert set(MEANINGS) == set(Status)
    assert counts_text({"sent": 12345}).splitlines()[0].startswith("   12,345 sent ")


def test_failures_are_told_in_lines() -> None:
    """Address, reason and suggestion; only the first ones of many; nothing that would steer a terminal."""
    assert failures_text(audit(results(ROWS[:1]))) == "No address failed.\n"
    said = failures_text(audit(results())).splitlines()
    kinds = "1 domain typo, 1 blank, 1 refused by the API, 1 not accepted, 1 in doubt"
    assert said[0] == f"Failed addresses (5): {kinds}"
    assert [line.split()[1] for line in said[1:-1]] == ["1", "1", "2", "3", "4"]
    assert said[-1] == "Not sent, as meant: 1 duplicate, 1 suppressed"
    assert (
        failures_text(audit(results(ROWS[5:]))) == "No address failed.\nNot sent, as meant: 1 duplicate, 1 suppressed\n"
    )
    assert said[1].endswith("b@@gmial.com  'b@@gmial.com' 'to' email not valid (did you mean b@gmail.com?)")
    many = [("x", RowVerdict(Status.REJECTED, "error", ("\x1b[2J\nno",)))] * 30
    said = failures_text(audit(results(many))).splitlines()
    assert len(said) == 22
    assert said[-1] == "  … and 10 more: turbobatch audit writes them all"
    assert all(line.isprintable() for line in said)


# Samples


def test_samples_are_copied_without_what_was_sent_from_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal that lies in a sample's folder stays there; an installed sample may be read-only."""
    original = tmp_path / "package" / "sample_data" / "starter"
    copy_sample("starter", original)
    (original / "my-campaign.journal.db").touch()
    (original / "campaign.toml").chmod(0o444)
    monkeypatch.setattr("turbobatch.samples._PACKAGE", tmp_path / "package")
    assert sample("starter") == original
    copy_sample("starter", tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == [
        "campaign.toml", "message.html", "message.txt", "recipients.csv",
    ]  # fmt: skip
    assert (tmp_path / "mine/campaign.toml").stat().st_mode & 0o200


def test_a_sample_is_not_copied_over_anything(tmp_path: Path) -> None:
    """A folder with something in it, a file, or a place that can't be written is refused in one line."""
    (tmp_path / "file").touch()
    for target in (tmp_path, tmp_path / "file"):
        with pytest.raises(CampaignError, match="exists and isn't empty: name a new folder"):
            copy_sample("starter", target)
    with pytest.raises(CampaignError, match="can't be written: Not a directory"):
        copy_sample("starter", tmp_path / "file" / "mine")
    (tmp_path / "empty").mkdir()
    copy_sample("starter", tmp_path / "empty")
