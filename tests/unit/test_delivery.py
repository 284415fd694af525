"""What became of accepted emails: the vendor's words, several recipients, and results that are joined with it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, cast

import pandas as pd
import pytest

from turbobatch.delivery import DELIVERY_COLUMNS, Deliveries, Delivery, delivery_of, failures_of, status_of
from turbobatch.errors import CampaignError
from turbobatch.management import ANALYTICS_STATUSES
from turbobatch.policy import Status
from turbobatch.results import RowVerdict, joined

if TYPE_CHECKING:
    from turbobatch.client import TurboClient

SENT_AT = datetime(2026, 11, 20, 12, tzinfo=UTC).timestamp()


def results(*verdicts: RowVerdict) -> pd.DataFrame:
    return joined(pd.DataFrame({"name": [f"row {number}" for number in range(len(verdicts))]}), verdicts)


def sent(mid: str | None, at: float = SENT_AT) -> RowVerdict:
    return RowVerdict(Status.SENT, "OK", send_mid=mid, send_time=at)


def test_every_documented_word_has_a_status() -> None:
    """And one that isn't documented stays as it is."""
    assert {status_of(word) for word in ANALYTICS_STATUSES} == set(Delivery)
    assert status_of("Quarantined") == "quarantined"


@pytest.mark.parametrize(
    ("recipients", "expected"),
    [
        ([("SUCCESS", "a@x.example", "")], ("delivered", "a@x.example", None, None)),
        ([("OPEN", "a@x.example", ""), ("SUCCESS", "b@x.example", "")], ("delivered", "b@x.example", None, None)),
        (
            [("OPEN", "a@x.example", ""), ("FAIL", "b@x.example", "550 unknown"), ("FAIL", "c@x.example", "full")],
            (
                "bounced",
                "b@x.example, c@x.example",
                "550 unknown; full",
                '[["b@x.example", "bounced", "550 unknown"], ["c@x.example", "bounced", "full"]]',
            ),
        ),
        (
            [("REPORT", "a@x.example", ""), ("FAIL", "b@x.example", "è pieno"), ("FAIL", "b@x.example", "è pieno")],
            (
                "bounced",
                "b@x.example",
                "è pieno",
                '[["a@x.example", "complaint", ""], ["b@x.example", "bounced", "è pieno"]]',
            ),
        ),
        ([("ODD", "a@x.example", "hm"), ("NEW", "b@x.example", "")], ("queued", "b@x.example", None, None)),
    ],
)
def test_of_several_recipients_the_worst_counts(
    recipients: list[tuple[str, str, str]], expected: tuple[str, str, str | None, str | None]
) -> None:
    """With those whom it concerns, and their reasons; all failures are told beside it."""
    assert delivery_of(recipients) == expected


@pytest.mark.parametrize(
    "told",
    ["", "{", '{"a": 1}', "[1]", '[["a@x.example", "bounced"]]', '[["a@x.example", "bounced", null]]', "[" * 10**6],
)
def test_failures_that_were_damaged_by_hand_are_none(told: str) -> None:
    """Nor are words that stand for no failure."""
    assert failures_of(told) == []
    assert failures_of('[["a@x.example", "opened", ""], ["b@x.example", "dropped", "x"]]') == [
        ("b@x.example", "dropped", "x")
    ]


def test_what_isnt_sent_or_has_no_id_has_no_delivery_and_nobody_is_asked() -> None:
    """There is nothing to ask for: not even a client is needed."""
    table = results(sent(None), RowVerdict(Status.REJECTED, "error"), RowVerdict(Status.PENDING))
    found = Deliveries.fetch([table], cast("TurboClient", None))
    assert found.joined(table)[list(DELIVERY_COLUMNS)].isna().all(axis=None)
    assert (found.counts.total(), found.unknown) == (0, 1)


def test_an_empty_table_gets_the_columns_too() -> None:
    """So that a report of nothing has the same columns."""
    table = results()
    made = Deliveries.fetch([table], cast("TurboClient", None)).joined(table)
    assert list(made.columns)[-len(DELIVERY_COLUMNS) :] == list(DELIVERY_COLUMNS)


def test_the_days_asked_for_are_those_of_the_sent_rows() -> None:
    """A day more at each end: the vendor's days may begin at another hour."""
    asked: list[tuple[date, date, Any]] = []

    class Client:
        def analytics(self, since: date, until: date, **options: Any) -> list[Any]:
            asked.append((since, until, options["filter"]))
            return []

    chunks = [results(sent("1", SENT_AT + 2 * 86400)), results(sent("2"), RowVerdict(Status.INVALID, "x"))]
    Deliveries.fetch(chunks, cast("TurboClient", Client()), campaign="spring")
    assert asked == [(date(2026, 11, 19), date(2026, 11, 23), "spring")]


def test_other_frames_are_refused() -> None:
    """By the column that is missing."""
    with pytest.raises(CampaignError, match="send_status"):
        Deliveries.fetch([pd.DataFrame({"a": [1]})], cast("TurboClient", None))


@pytest.mark.parametrize("names", [DELIVERY_COLUMNS, DELIVERY_COLUMNS[1:2]])
def test_a_tables_own_columns_are_not_replaced(names: tuple[str, ...]) -> None:
    """It is told before anybody is asked, and with the cure."""
    table = joined(pd.DataFrame(dict.fromkeys(names, "mine"), index=[0]), [sent("1")])
    for tried in (lambda: Deliveries.fetch([table], cast("TurboClient", None)), lambda: Deliveries().joined(table)):
        with pytest.raises(
            CampaignError, match=f"^the table has columns of its own called .*'{names[-1]}'.*: rename"
        ) as refused:
            tried()
        assert "\n" not in str(refused.value)


def test_results_can_be_joined_anew_and_hold_other_columns() -> None:
    """The columns stand right after the result columns, where they are known by their place."""
    table = results(sent("1"), sent("2")).assign(note="mine")
    once = Deliveries().joined(table)
    assert list(once.columns) == [*table.columns[:-1], *DELIVERY_COLUMNS, "note"]
    pd.testing.assert_frame_equal(Deliveries().joined(once), once)
    assert "delivery_status" not in table.columns
