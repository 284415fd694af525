"""What the analytics prove of an email in doubt: found, unclear, missing, too early. Never a guess."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.management import AnalyticsRow
from turbobatch.reconcile import Doubt, Judge, Reconciled, Sighting, Trace

NOW = 1_800_000_000.0
BEGAN = NOW - 7200  # two hours ago
JUDGE = Judge(campaign="spring", grace=3600, now=NOW)


def row(mid: str = "1", *, at: float = BEGAN + 1, **other: Any) -> AnalyticsRow:
    given: dict[str, Any] = {
        "id": mid, "subject": "Your receipt 7", "sender": "shop@acme.example", "recipient": "ana@example.org",
        "send_time": datetime.fromtimestamp(at, UTC), "status": "SUCCESS", "domain": "acme.example", "error": "",
        "recipient_domain": "example.org", "x_campaign_id": "spring",
    }  # fmt: skip
    return AnalyticsRow(**given | other)


def doubt(key: str = "7", *, began: float = BEGAN, **other: Any) -> Doubt:
    given: dict[str, Any] = {"recipients": "r", "digest": "d", "first": began, "last": began + 60}
    return Doubt(key=key, **given | {"subject": "Your receipt 7"} | other)


def told(
    doubts: list[Doubt], seen: dict[str, list[AnalyticsRow]], taken: frozenset[str] = frozenset()
) -> list[Reconciled]:
    sightings = {key: [Sighting(item.id, [item]) for item in rows] for key, rows in seen.items()}
    return JUDGE.decide(doubts, sightings, set(taken))


def trace(*rows: AnalyticsRow, **other: Any) -> Trace:
    return told([doubt(**other)], {"7": list(rows)})[0].trace


def test_the_one_email_that_fits_is_found() -> None:
    """With its message id, and with what became of it."""
    (item,) = told([doubt()], {"7": [row("99", status="FAIL", error="550 no such user")]})
    assert (item.trace, item.mids, item.delivery) == (Trace.FOUND, ("99",), "bounced")
    assert item.is_settled


def test_nothing_there_is_missing_after_the_grace_and_too_early_before() -> None:
    """An email may take a while to show: until then nothing is said of it."""
    assert trace() is Trace.MISSING
    assert trace(began=NOW - 120) is Trace.EARLY


@pytest.mark.parametrize(
    "other",
    [
        {"subject": "Your receipt 8"},
        {"at": BEGAN - 4000},
        {"at": BEGAN + 4000},
        {"send_time": None},
        {"x_campaign_id": ""},
    ],
)
def test_what_fits_in_part_is_unclear(other: dict[str, Any]) -> None:
    """An email to the same person under another subject, at another time, or without label (v1): look yourself."""
    assert trace(row(**other)) is Trace.UNCLEAR


def test_emails_of_other_campaigns_are_no_trace() -> None:
    """Nor is an unlabelled one that has another subject."""
    assert trace(row(x_campaign_id="winter")) is Trace.MISSING
    assert trace(row(x_campaign_id="", subject="Hello")) is Trace.MISSING


def test_several_that_fit_are_said_and_not_guessed() -> None:
    """Both ids are named."""
    (item,) = told([doubt()], {"7": [row("1"), row("2")]})
    assert (item.trace, item.mids) == (Trace.UNCLEAR, ("1", "2"))


def test_one_email_that_fits_two_doubts_is_neither() -> None:
    """Two identical emails to one person: which of them it is can't be told."""
    both = told([doubt("7"), doubt("8")], {"7": [row()], "8": [row()]})
    assert [item.trace for item in both] == [Trace.UNCLEAR, Trace.UNCLEAR]


def test_an_email_that_was_found_for_one_doubt_is_no_trace_of_another() -> None:
    """Two receipts to one person, told apart by their subjects; only the first was accepted."""
    found, missing = told([doubt("7"), doubt("8", subject="Your receipt 8")], {"7": [row()], "8": [row()]})
    assert (found.trace, missing.trace) == (Trace.FOUND, Trace.MISSING)


def test_ids_of_emails_that_are_known_as_sent_are_left_out() -> None:
    """What the journal has an answer for can't be the one in doubt."""
    (item,) = told([doubt()], {"7": [row("1"), row("2")]}, frozenset({"1"}))
    assert (item.trace, item.mids) == (Trace.FOUND, ("2",))


def test_without_the_row_in_the_table_the_subject_isnt_compared() -> None:
    """Its label, recipients and time must do."""
    assert trace(row(subject="anything"), subject=None) is Trace.FOUND


def test_the_vendors_own_reference_goes_before_all_else() -> None:
    """It names the row's key: even where an email arrived twice, it was sent."""
    (item,) = told([doubt()], {"7": [row("1", reference_id="7", at=BEGAN - 9e4), row("2", reference_id="7"), row("3")]})
    assert (item.trace, item.mids) == (Trace.FOUND, ("1", "2"))
    assert "2 times" in item.message


rows = st.builds(
    row,
    st.sampled_from("1234"),
    at=st.sampled_from([BEGAN - 4000, BEGAN, BEGAN + 30, BEGAN + 5000]),
    subject=st.sampled_from(["Your receipt 7", "Your receipt  7", "other"]),
    x_campaign_id=st.sampled_from(["spring", "", "winter"]),
    status=st.sampled_from(["NEW", "FAIL", "SOMETHING"]),
)


@given(st.lists(rows, max_size=4), st.lists(rows, max_size=4), st.sets(st.sampled_from("1234")))
def test_no_email_is_found_for_two_nor_one_that_is_taken(
    of_a: list[AnalyticsRow], of_b: list[AnalyticsRow], taken: set[str]
) -> None:
    """Whatever comes: each doubt is told once, in order, and what is found fits and is nobody else's."""
    seen = {"a": of_a, "b": of_b}
    items = told([doubt("a"), doubt("b")], seen, frozenset(taken))
    assert [item.key for item in items] == ["a", "b"]
    found = {item.key: item.mids[0] for item in items if item.is_settled}
    assert len(set(found.values())) == len(found)
    assert not taken & set(found.values())
    for key, mid in found.items():
        assert any(item.id == mid and item.x_campaign_id == "spring" for item in seen[key])
