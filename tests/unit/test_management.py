"""What the management calls make of answers of any shape, and of pages that move while they are read."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.errors import ManagementError
from turbobatch.management import AnalyticsRow, Validation, answers
from turbobatch.management.answers import Page, UnreadableAnswer
from turbobatch.management.pages import EndlessError, listed

if TYPE_CHECKING:
    from collections.abc import Iterator

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)
NAMES = (
    "id", "subject", "sender", "recipient", "send_time", "status", "domain", "error", "recipient_domain",
    "x_campaign_id", "X-campaign-ID", "reference_id", "date", "source", "reason", "valid", "invalid", "email",
    "sub_status", "did_you_mean", "list_id", "total_emails", "is_processed", "percentage", "count", "results",
)  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from(NAMES), JSON)
ROW = {
    "id": 1688566310828572700,
    "subject": "Your receipt",
    "sender": "shop@acme.example",
    "recipient": "ana@x.example",
    "send_time": "2026-11-23 09:30:00",
    "status": "FAIL",
    "domain": "acme.example",
    "error": "550 5.1.1 user unknown",
    "recipient_domain": "x.example",
    "x_campaign_id": "receipts",
}


def read(value: Any) -> Any:
    """The value as it arrives: through JSON."""
    return answers.load(json.dumps(value).encode())


def texts(found: Any) -> Iterator[str]:
    """Every text in the data."""
    for row in found if isinstance(found, list) else [found]:
        yield from (str(value) for value in dataclasses.astuple(row))


def row_of(**changes: Any) -> AnalyticsRow:
    return answers.analytics_row(answers.read_object(read(ROW | changes)))


class TestReading:
    def test_a_row_of_analytics(self) -> None:
        assert row_of() == AnalyticsRow(
            id="1688566310828572700",
            subject="Your receipt",
            sender="shop@acme.example",
            recipient="ana@x.example",
            send_time=datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
            status="FAIL",
            domain="acme.example",
            error="550 5.1.1 user unknown",
            recipient_domain="x.example",
            x_campaign_id="receipts",
            reference_id=None,
        )

    @given(st.integers(min_value=0))
    def test_an_id_of_any_size_stays_exact(self, number: int) -> None:
        body = b'{"id": %d}' % number
        assert answers.analytics_row(answers.read_object(answers.load(body))).id == str(number)
        assert row_of(id=str(number)).id == str(number)

    @pytest.mark.parametrize(
        ("written", "time"),
        [
            ("2026-11-23T09:30:00Z", datetime(2026, 11, 23, 9, 30, tzinfo=UTC)),
            ("2026-11-23 10:30:00+01:00", datetime(2026, 11, 23, 9, 30, tzinfo=UTC)),
            (" 2026-11-23 09:30:00.5 ", datetime(2026, 11, 23, 9, 30, 0, 500_000, tzinfo=UTC)),
            ("0001-01-01 00:00:00+10:00", None),
            ("yesterday", None),
            ("", None),
            (None, None),
            ([2026], None),
        ],
    )
    def test_times_are_utc_or_none(self, written: object, time: datetime | None) -> None:
        assert row_of(send_time=written).send_time == time

    def test_what_is_missing_is_empty_and_an_unknown_status_stays(self) -> None:
        row = answers.analytics_row(answers.read_object(read({"status": "QUARANTINE", "subject": None})), "17")
        assert (row.id, row.status, row.subject, row.recipient) == ("17", "QUARANTINE", "", "")

    def test_other_spellings_of_the_campaigns_field(self) -> None:
        assert (
            answers.analytics_row(answers.read_object(read({"X-campaign-ID": "receipts"}))).x_campaign_id == "receipts"
        )

    def test_half_a_character_is_replaced(self) -> None:
        assert row_of(subject="a\ud800b").subject == "a\ufffdb"

    @pytest.mark.parametrize(
        "answer", [None, "no", 7, {}, {"count": 3}, {"count": 2, "results": None}, {"results": {}}]
    )
    def test_an_answer_without_results_is_no_empty_page(self, answer: object) -> None:
        with pytest.raises(UnreadableAnswer, match="no list of results"):
            answers.read_page(read(answer))

    def test_a_page_of_nothing_but_nonsense_is_no_empty_page(self) -> None:
        with pytest.raises(UnreadableAnswer):
            answers.read_page(read({"count": 2, "results": [1, "x"]}))

    @pytest.mark.parametrize(
        ("answer", "page"),
        [
            ({"count": 0, "results": []}, Page([], 0)),
            ({"count": 0, "results": None}, Page([], 0)),
            ({"count": "12", "results": [{"ID": 1}, None]}, Page([{"id": "1"}], 12)),
            ({"count": "many", "results": [{}]}, Page([{}], None)),
            ({"count": -1, "results": [{}]}, Page([{}], None)),
            ([{"a": 1}], Page([{"a": "1"}], None)),
        ],
    )
    def test_pages(self, answer: object, page: Page) -> None:
        assert answers.read_page(read(answer)) == page

    @pytest.mark.parametrize("body", [b"<html>", b"{", b"\xff", b"[" * 100_000, b"\x00"])
    def test_what_is_no_json(self, body: bytes) -> None:
        with pytest.raises(UnreadableAnswer):
            answers.load(body)

    @pytest.mark.parametrize(
        ("given_", "processed", "percentage"),
        [
            ({"is_processed": True, "percentage": 100}, True, 100.0),
            ({"is_processed": "true", "percentage": "99.5"}, True, 99.5),
            ({"is_processed": 1, "percentage": "40%"}, True, 40.0),
            ({"is_processed": False, "percentage": 1e9}, False, 100.0),
            ({"is_processed": 0, "percentage": "-3"}, False, 0.0),
            ({"is_processed": None, "percentage": "NaN"}, False, 0.0),
            ({}, False, 0.0),
        ],
    )
    def test_the_state_of_a_list(self, given_: dict[str, Any], processed: bool, percentage: float) -> None:
        state = answers.validation_list(read(given_), "5")
        assert (state.list_id, state.is_processed, state.percentage) == ("5", processed, percentage)

    def test_a_new_list_must_have_a_name(self) -> None:
        assert answers.validation_list(read({"list_id": 2**70, "total_emails": "3"})).list_id == str(2**70)
        with pytest.raises(UnreadableAnswer, match="no list_id"):
            answers.validation_list(read({"total_emails": 3}))

    def test_a_judgement(self) -> None:
        found = answers.one_validation(read({"status": "spamtrap", "did_you_mean": ""}), "a@x.example")
        assert found == Validation(email="a@x.example", status="spamtrap", sub_status="", did_you_mean=None)
        with pytest.raises(UnreadableAnswer, match="no status"):
            answers.one_validation(read({"email": "a@x.example"}), "a@x.example")

    @pytest.mark.unmeasured
    @given(JSON | OBJECTS | st.lists(OBJECTS, max_size=3) | st.fixed_dictionaries({"results": st.lists(OBJECTS)}))
    def test_any_answer_is_read_or_refused(self, answer: Any) -> None:
        """Whatever comes, it ends in data that can be written to a file, or in one refusal."""
        value = read(answer)
        readers = (
            lambda found: answers.analytics_row(answers.read_object(found)),
            lambda found: answers.suppressed_address(answers.read_object(found)),
            lambda found: [answers.validation(row) for row in answers.read_page(found).rows],
            answers.suppression_import,
            lambda found: answers.one_validation(found, ""),
            answers.validation_list,
        )
        for reader in readers:
            with contextlib.suppress(UnreadableAnswer):
                for item in texts(reader(value)):
                    item.encode()

    @given(st.binary())
    def test_any_bytes_are_read_or_refused(self, body: bytes) -> None:
        with contextlib.suppress(UnreadableAnswer):
            answers.load(body)


class Host:
    """A list, newest first, at a host with its own ideas of pages.

    Args:
        rows: how many there are at first.
        cap: rows to a page at most.
        news: how many new rows come before each of the first fetches.
        total: what `count` tells: "all" rows, this "page"'s, or nothing.
        repeats: whether pages beyond the last are like the last.
    """

    def __init__(self, rows: int, cap: int, news: list[int], total: str, *, repeats: bool) -> None:
        self.rows = [{"id": str(number)} for number in reversed(range(rows))]
        self.fetches = 0
        self._cap, self._news, self._total, self._repeats = cap, news, total, repeats

    def fetch(self, number: int) -> Page:
        if self.fetches < len(self._news):
            first = len(self.rows)
            self.rows = [{"id": str(first + i)} for i in reversed(range(self._news[self.fetches]))] + self.rows
        self.fetches += 1
        if self._repeats:
            number = min(number, max(-(-len(self.rows) // self._cap), 1))
        page = self.rows[(number - 1) * self._cap : number * self._cap]
        totals = {"all": len(self.rows), "page": len(page), "none": None}
        return Page(list(page), totals[self._total])


def ids(host: Host, page_size: int) -> list[str]:
    return list(listed(host.fetch, page_size, lambda row: str(row["id"]), lambda row: row))


class TestPages:
    @given(
        rows=st.integers(0, 40),
        sizes=st.tuples(st.integers(1, 50), st.integers(1, 50)),
        news=st.lists(st.integers(0, 3), max_size=6),
        total=st.sampled_from(["all", "none", "none, and pages repeat"]),
    )
    def test_each_row_comes_once(self, rows: int, sizes: tuple[int, int], news: list[int], total: str) -> None:
        """However small the host's pages are, and while new rows push the old ones along."""
        page_size, cap = sizes
        total, repeats, _ = total.partition(", and")
        host = Host(rows, min(cap, page_size), news, total, repeats=bool(repeats))
        found = ids(host, page_size)
        assert len(set(found)) == len(found)
        assert {str(number) for number in range(rows)} <= set(found)

    @given(rows=st.integers(0, 95), page_size=st.integers(1, 60), cap=st.integers(10, 50))
    def test_a_count_of_the_page_alone_ends_nothing(self, rows: int, page_size: int, cap: int) -> None:
        """Some APIs count the rows of the page; a full page is followed by another look."""
        assert len(ids(Host(rows, min(cap, page_size), [], "page", repeats=False), page_size)) == rows

    def test_a_list_that_is_done_is_not_asked_again(self) -> None:
        host = Host(23, 10, [], "all", repeats=False)
        assert len(ids(host, 10)) == 23
        assert host.fetches == 3

    def test_pages_without_end_are_an_error(self) -> None:
        """A host that doesn't know of pages, and whose count is beyond what it has."""
        rows = [{"id": str(number)} for number in range(12)]
        asked: list[int] = []

        def fetch(number: int) -> Page:
            asked.append(number)
            return Page(list(rows), 10**9)

        found = listed(fetch, 12, lambda row: str(row["id"]), lambda row: row)
        assert len(list(itertools.islice(found, 12))) == 12
        with pytest.raises(EndlessError):
            next(found)
        assert len(asked) < 50

    def test_a_refusal_of_a_page_beyond_the_count_is_the_end(self) -> None:
        """Of a page that must be there it is an error, and so is one that concerns who asks, or a failure."""

        def found(rows: int, counted: int, status: int | None) -> int:
            def fetch(number: int) -> Page:
                page = [{"id": str(n)} for n in range((number - 1) * 10, min(number * 10, rows))]
                if not page:
                    raise ManagementError("no such page", http_status=status)
                return Page(page, counted)

            return len(list(listed(fetch, 10, lambda row: str(row["id"]), lambda row: row)))

        assert [found(20, 20, status) for status in (400, 404, 416, 422)] == [20] * 4
        for rows, counted, status in ((0, 0, 404), (20, 21, 404), (20, 20, 429), (20, 20, 500), (20, 20, None)):
            with pytest.raises(ManagementError, match="no such page"):
                found(rows, counted, status)

    def test_an_empty_page_is_the_end_whatever_was_counted(self) -> None:
        pages = {1: Page([{"id": "1"}], 99), 2: Page([], 99)}
        assert list(listed(pages.__getitem__, 10, lambda row: row["id"], lambda row: row)) == ["1"]
