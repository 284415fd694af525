"""Summaries: what became of the rows, counted in chunks of any size, and told in a notebook."""

from __future__ import annotations

import base64
import html.parser
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import turbobatch as tb
from turbobatch import counting, tally
from turbobatch.charts import pace_chart
from turbobatch.delivery import DELIVERY_COLUMNS
from turbobatch.failures import Category
from turbobatch.overview import DeliveryCount, Summary
from turbobatch.plots import Bar, bars, rounded_up
from turbobatch.policy import Status
from turbobatch.results import CAMPAIGN, RowVerdict, joined
from turbobatch.tally import Bounded, DomainCount, Keys, Pace, PacePoint, address_column, domain_of, with_sample
from turbobatch.telling import lasting, many, pace, share

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BEGIN = datetime(2026, 11, 23, 10, 0, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>'\"&"
BAD = "'b@@x' 'to' email not valid"


def sent(seconds: float, key: str, status: Status = Status.SENT, *errors: str) -> RowVerdict:
    """A verdict that came so many seconds after the begin."""
    time = BEGIN.timestamp() + seconds
    return RowVerdict(status, "OK" if status == Status.SENT else "said", errors, None, 200, 1, time, 0.1, key)


def with_deliveries(frame: pd.DataFrame, statuses: Any) -> pd.DataFrame:
    """Results as they are once they were joined with deliveries."""
    told = pd.Series(statuses, index=frame.index, dtype="string")
    return frame.assign(delivery_status=told, delivery_address=None, delivery_reason=None)


ROWS = [
    ("ana@one.example", sent(0, "a")),
    ("Bea <bea@ONE.example.>", sent(1, "b")),
    ("b@@x", RowVerdict(Status.INVALID, "row 2: x", (BAD,), send_key="c")),
    ("dan@two.example", sent(3, "d", Status.REJECTED, "'d@x' 'to' email not valid", "nonsense")),
    ("eve@two.example", sent(9.5, "e", Status.IN_DOUBT)),
    ("ana@one.example", RowVerdict(Status.DUPLICATE, "row 5: same key as row 0", send_key="a")),
    ("", RowVerdict(Status.INVALID, "row 6: x", ("column 'email' is blank",))),
    ("", RowVerdict(Status.INVALID, "row 7: x", ("column 'email' is blank",))),
    ("gus@one.example", RowVerdict(Status.SUPPRESSED, "row 8: x", ("x",), send_key="g")),
    ("hal@one.example", RowVerdict(Status.PENDING, send_key="h")),
]


def results(rows: list[tuple[str, RowVerdict]] = ROWS, **own: Any) -> pd.DataFrame:
    return joined(pd.DataFrame({"email": [email for email, _ in rows], **own}), [verdict for _, verdict in rows])


def in_chunks(frame: pd.DataFrame, size: int) -> Iterator[pd.DataFrame]:
    return (frame.iloc[start : start + size] for start in range(0, len(frame), size))


# What is counted


def test_rows_and_emails_are_counted_by_status() -> None:
    """A duplicate is a row and no email; a row without a key counts as one email."""
    found = tb.summary(results())
    assert (found.rows, found.emails) == (10, 9)
    assert [tuple(item) for item in found.statuses] == [
        ("pending", 1, 1), ("sent", 2, 2), ("rejected", 1, 1), ("invalid", 3, 3), ("duplicate", 1, 0),
        ("suppressed", 1, 1), ("in_doubt", 1, 1),
    ]  # fmt: skip
    assert found.count(Status.SENT, Status.IN_DOUBT) == 3
    assert repr(found) == (
        "<Summary: 10 rows, 9 emails, 1 pending, 2 sent, 1 rejected, 3 invalid, 1 suppressed, 1 in_doubt>"
    )


def test_the_rows_of_a_group_make_one_email() -> None:
    """Wherever they stand: its address, its failure and its time count once, at its first row."""
    group = sent(1, "a", Status.REJECTED, "'a@x' 'to' email not valid")
    found = tb.summary(results([("a@x.example", group), ("b@y.example", sent(2, "b")), ("a@z.example", group)]))
    assert (found.rows, found.emails, found.posted, found.failures) == (3, 2, 2, 1)
    assert [(item.status, item.rows, item.emails) for item in found.statuses] == [("sent", 1, 1), ("rejected", 2, 1)]
    first, second = DomainCount("x.example", 1, 0), DomainCount("y.example", 1, 0, sent=1)
    assert found.domains == (DomainCount("x", 1, 1), first, second)
    assert [item.row for item in found.failed] == [0]


def test_when_and_at_what_pace() -> None:
    """By when answers came: the mean over all the time, the most of any second, and equal intervals."""
    found = tb.summary(results())
    assert (found.first, found.last, found.posted) == (BEGIN, BEGIN + timedelta(seconds=9.5), 4)
    assert found.seconds == 9.5
    assert found.mean == pytest.approx(4 / 9.5)
    assert found.peak == 1.0
    assert found.when == "Posted from 2026-11-23 10:00:00 to 10:00:09 UTC, in 9.5 s"
    assert [point.emails for point in found.pace if point.emails] == [1, 1, 1, 1]
    assert {point.seconds for point in found.pace} == {0.1}
    assert tb.summary(results(ROWS[-1:])).when == "Nothing was posted yet."
    assert tb.summary(results(ROWS[:1])).when == "Posted at 2026-11-23 10:00:00 UTC"


def test_in_doubt_come_one_by_one() -> None:
    """With what is needed to look for them; they are no failures."""
    found = tb.summary(results())
    assert [tuple(item) for item in found.in_doubt] == [
        (4, "e", "eve@two.example", "said", BEGIN + timedelta(seconds=9.5))
    ]
    assert Category.IN_DOUBT not in {item.category for item in found.categories}


def test_failures_are_counted_by_cause() -> None:
    """Each failed address once; causes without the values that are their row's own."""
    found = tb.summary(results())
    assert found.failures == sum(item.addresses for item in found.causes) == 5
    assert dict(found.categories) == {"syntax": 2, "row can't be merged": 2, "refused by the API": 1}
    assert {(item.cause, item.addresses) for item in found.causes} == {
        ("… 'to' email not valid", 2), ("column 'email' is blank", 2), ("nonsense", 1),
    }  # fmt: skip
    assert [(item.row, item.recipient, item.address, item.reason) for item in found.failed[:3]] == [
        (2, "b@@x", "b@@x", BAD),
        (3, "dan@two.example", "d@x", "'d@x' 'to' email not valid"),
        (3, "dan@two.example", "", "nonsense"),
    ]


def test_domains_are_counted_by_the_column_of_addresses() -> None:
    """Those with most failures first; an email counts once in each, however many of its addresses failed there."""
    found = tb.summary(results())
    assert found.address_column == "email"
    assert found.domains == (
        DomainCount("", 2, 2), DomainCount("x", 2, 2), DomainCount("two.example", 2, 1, in_doubt=1),
        DomainCount("one.example", 4, 0, sent=2),
    )  # fmt: skip
    assert found.other_domains == DomainCount("other domains", 0, 0)
    without = tb.summary(results().rename(columns={"email": "id"}).assign(id="7"))
    assert (without.address_column, without.domains) == (None, ())
    assert without.failures == 5


def test_a_failure_is_told_of_the_failed_addresss_own_domain() -> None:
    """Not of the first recipient's, which did nothing wrong; where no address is named, it is the first one's."""
    rows = [
        ("ana@one.example", sent(0, "a", Status.REJECTED, "'b@@two.example' 'bcc' email not valid")),
        ("bea@one.example", sent(0, "b")),
        ("cam@one.example", sent(0, "c", Status.REJECTED, "nonsense")),
        ("dan@one.example", sent(0, "d")),
    ]
    frame = with_deliveries(results(rows), [pd.NA, pd.NA, pd.NA, "bounced"])
    frame["delivery_address"] = [None, None, None, "copy@three.example"]
    expected = {
        DomainCount("one.example", 4, 1, sent=2), DomainCount("two.example", 1, 1), DomainCount("three.example", 1, 1),
    }  # fmt: skip
    found = tb.summary(frame)
    assert set(found.domains) == expected
    assert (found.emails, found.failed_emails) == (4, 3)
    assert next(item.rest for item in found.domains if item.domain == "one.example") == 1


def test_deliveries_are_counted_where_results_tell_them() -> None:
    """Of the emails that were sent, and of others that the vendor knows all the same."""
    frame = with_deliveries(results(), ["bounced", *[pd.NA] * 3, "delivered", *[pd.NA] * 5])
    assert tb.summary(frame).deliveries == (
        DeliveryCount("", 1), DeliveryCount("bounced", 1), DeliveryCount("delivered", 1),
    )  # fmt: skip
    assert tb.summary(results()).deliveries == ()


@pytest.mark.parametrize("names", [DELIVERY_COLUMNS, DELIVERY_COLUMNS[:1]])
def test_a_tables_own_columns_are_no_deliveries(names: tuple[str, ...], tmp_path: Path) -> None:
    """Whatever they are called: neither summary nor audit tells them as the vendor's, also from a report."""
    own: dict[str, Any] = dict.fromkeys(names, "bounced")
    frame = results(**own)
    for ending in (".csv", ".parquet"):
        for found in (frame, tb.read_report(tb.write_report(frame, tmp_path / f"own{ending}"))):
            told = tb.summary(found)
            assert (told.deliveries, told.failures) == ((), 5)
            audit = tb.audit(found)
            assert set(audit["category"]).isdisjoint({"bounced"})
            assert [list(audit[name].unique()) for name in names] == [["bounced"]] * len(names)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".xlsx"])
def test_deliveries_are_deliveries_in_a_report_too(ending: str, tmp_path: Path) -> None:
    frame = with_deliveries(results(), ["bounced", *[pd.NA] * 9])
    written = tb.write_report(frame, tmp_path / f"report{ending}")
    assert tb.summary(written).deliveries == tb.summary(frame).deliveries != ()
    assert tb.audit(tb.read_report(written))["category"].tolist()[0] == "bounced"


def test_the_campaign_is_named_where_the_results_tell_it() -> None:
    frame = results()
    frame.attrs[CAMPAIGN] = "letters"
    assert tb.summary(frame).campaign == "letters"
    assert repr(tb.summary(frame)).startswith("<Summary of letters: 10 rows")
    assert tb.summary(results()).campaign == ""


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".xlsx"])
def test_a_report_is_summed_up_by_its_path(ending: str, tmp_path: Path) -> None:
    """It gives the same as the results that it was written of."""
    written = tb.write_report(results(), tmp_path / f"report{ending}")
    assert tb.summary(written) == tb.summary(str(written)) == tb.summary(results())


def test_what_is_no_results_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(tb.CampaignError, match=r"^these are no results, they have no column 'send_status'"):
        tb.summary(pd.DataFrame({"a": [1]}))
    with pytest.raises(tb.CampaignError, match=r"can't be read: No such file"):
        tb.summary(tmp_path / "nowhere.csv")


@pytest.mark.parametrize("given", [None, 7, b"x", {"a": [1]}, ["report.csv"], [None], pd.Series([1])])
def test_what_is_no_frame_is_one_line(given: Any) -> None:
    with pytest.raises(tb.CampaignError, match=r"^these are no results but \w+: give a DataFrame") as refused:
        tb.summary(given)
    assert "\n" not in str(refused.value)


def test_doubled_result_columns_are_one_line() -> None:
    """A join that somebody made by hand."""
    doubled = pd.concat([results(), results()[["send_key"]]], axis=1)
    for read in (tb.summary, tb.audit):
        with pytest.raises(tb.CampaignError, match=r"^these are no results, they have more than one column 'send_key'"):
            read(doubled)


def test_a_report_that_pandas_has_read_is_summed_up_too(tmp_path: Path) -> None:
    """All columns as texts, or as pandas guesses them."""
    path = tb.write_report(results(), tmp_path / "report.csv")
    for options in ({}, {"dtype": str}, {"dtype": str, "keep_default_na": False}, {"parse_dates": ["send_time"]}):
        assert tb.summary(pd.read_csv(path, **options)) == tb.summary(results())
    excel = tb.write_report(results(), tmp_path / "report.xlsx")
    assert tb.summary(pd.read_excel(excel)) == tb.summary(results())


@pytest.mark.parametrize(
    ("name", "value"),
    [("send_errors", "no list"), ("send_errors", "7"), ("send_time", "yesterday"), ("send_attempts", "many")],
)
def test_texts_that_nobody_wrote_into_a_report_are_one_line(name: str, value: str, tmp_path: Path) -> None:
    path = tb.write_report(results(), tmp_path / "report.csv")
    with pytest.raises(tb.CampaignError, match=r"^the report: its result columns were changed by hand: ") as refused:
        tb.summary(pd.read_csv(path, dtype=str).assign(**{name: value}))
    assert "\n" not in str(refused.value)


def test_figures_can_be_taken_further() -> None:
    """Each tuple makes a DataFrame with named columns."""
    frame = pd.DataFrame(tb.summary(results()).domains)
    assert list(frame.columns) == ["domain", "emails", "failed", "sent", "in_doubt"]
    assert frame["failed"].sum() == 5


def test_results_without_rows_have_a_summary() -> None:
    found = tb.summary(results().iloc[:0])
    assert (found.rows, found.emails, found.statuses, found.pace, found.failed) == (0, 0, (), (), ())


# Any chunks, any rows

VERDICTS = st.builds(
    RowVerdict,
    send_status=st.sampled_from(Status),
    send_message=st.sampled_from(["OK", "error"]),
    send_errors=st.lists(st.sampled_from([BAD, "nonsense", "column 'x' is blank"]), max_size=2).map(tuple),
    send_mid=st.none(),
    send_http_status=st.none(),
    send_attempts=st.integers(0, 2),
    send_time=st.none() | st.floats(1e9, 1e9 + 5000),
    send_seconds=st.none(),
    send_key=st.none() | st.sampled_from("abcdef"),
)
TABLES = st.lists(st.tuples(st.sampled_from(["", "a@x.example", "b@Y.example", "@@"]), VERDICTS), max_size=30)


@pytest.mark.unmeasured
@settings(max_examples=150)
@given(TABLES, st.integers(1, 8))
def test_chunks_make_no_difference_and_sums_add_up(rows: list[tuple[str, RowVerdict]], size: int) -> None:
    """Statuses sum up to rows and emails, domains to emails, intervals to what was posted, causes to failures."""
    frame = results(rows)
    found = tb.summary(frame)
    assert tb.summary(in_chunks(frame, size) if rows else [frame]) == found
    assert sum(item.rows for item in found.statuses) == found.rows == len(rows)
    assert sum(item.emails for item in found.statuses) == found.emails <= found.rows
    if found.address_column:
        assert sum(item.emails for item in found.domains) >= found.emails
        assert sum(item.sent for item in found.domains) == found.count(Status.SENT)
        assert sum(item.in_doubt for item in found.domains) == found.count(Status.IN_DOUBT)
    assert all(item.rest >= 0 for item in found.domains)
    assert sum(point.emails for point in found.pace) == found.posted <= found.emails
    assert sum(item.addresses for item in found.causes) == sum(item.addresses for item in found.categories)
    assert len(found.failed) == found.failures
    assert len(found.in_doubt) == found.count(Status.IN_DOUBT)
    assert found.peak >= found.mean


def test_what_is_kept_one_by_one_is_the_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The counts tell of all."""
    monkeypatch.setattr(counting, "KEPT", 2)
    doubts = [("a@x.example", sent(place, str(place), Status.IN_DOUBT)) for place in range(5)]
    failed = [("b@x.example", sent(place, f"f{place}", Status.REJECTED, BAD)) for place in range(5)]
    for size in (1, 3, 10):
        found = tb.summary(in_chunks(results([*doubts, *failed]), size))
        assert [item.row for item in found.in_doubt] == [0, 1]
        assert [item.row for item in found.failed] == [5, 6]
        assert (found.count(Status.IN_DOUBT), found.failures) == (5, 5)


def test_domains_and_causes_beyond_the_bound_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the chunks: the first ones have a line of their own."""
    monkeypatch.setattr(counting, "_DOMAINS", 2)
    monkeypatch.setattr(counting, "_CAUSES", 2)
    rows = [
        (f"a@{name}.example", sent(0, str(place), Status.REJECTED, f"cause {name}"))
        for place, name in enumerate("xyzxzw")
    ]
    for size in (1, 4, 6):
        found = tb.summary(in_chunks(results(rows), size))
        assert found.domains == (DomainCount("x.example", 2, 2), DomainCount("y.example", 1, 1))
        assert found.other_domains == DomainCount("other domains", 3, 3)
        assert (found.failures, found.other_causes) == (6, 3)


def test_a_frame_of_any_length_is_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held at once doesn't grow with it."""
    monkeypatch.setattr(tally, "_PART", 3)
    sample, chunks = with_sample([results()], 2)
    assert len(sample) == 2
    assert [len(chunk) for chunk in chunks] == [3, 3, 3, 1]
    parts = tb.summary(results())
    monkeypatch.undo()
    assert parts == tb.summary(results())


# The parts


@given(st.lists(st.lists(st.none() | st.text("abc", max_size=3), max_size=20), max_size=8))
def test_a_key_is_met_first_once(chunks: list[list[str | None]]) -> None:
    keys, met = Keys(), set[str]()
    for chunk in chunks:
        expected = []
        for key in chunk:
            expected.append(key is None or key not in met)
            met |= {key} - {None}  # type: ignore[arg-type]  # without None they are texts
        assert keys.first(chunk).tolist() == expected


def test_many_keys_take_few_bytes() -> None:
    """Eight a key, in runs whose number grows with its logarithm alone."""
    keys = Keys()
    for start in range(0, 200_000, 1000):
        assert keys.first([str(number) for number in range(start, start + 1000)]).all()
    assert not keys.first([str(number) for number in range(0, 200_000, 7)]).any()
    assert sum(run.nbytes for run in keys._runs) == 8 * 200_000
    assert len(keys._runs) < 10


def test_bounded_counts_keep_the_first_things() -> None:
    counts = Bounded(2)
    for chunk in ("aab", "cab"):
        counts.add(chunk)
    assert (counts.counts, counts.others) == ({"a": 3, "b": 2}, 1)


def moments(*seconds: float) -> pd.Series[Any]:
    return pd.Series([BEGIN + timedelta(seconds=item) for item in seconds]).dt.as_unit("us")


def test_the_busiest_second_begins_anywhere() -> None:
    """Not only where a clock's does."""
    found = Pace()
    found.add(moments(0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 5, 9))
    assert found.peak == 6
    assert found.mean == pytest.approx(8 / 8.4)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 10**6) | st.integers(0, 10**9), min_size=1, max_size=80), st.integers(1, 40))
def test_intervals_widen_with_the_time_that_they_span(seconds: list[int], size: int) -> None:
    """In any chunks the same; never more than a plot can show, and every email is in one."""
    whole, parts = Pace(), Pace()
    bins = tally._BINS
    try:
        tally._BINS = 7
        whole.add(moments(*seconds))
        for start in range(0, len(seconds), size):
            parts.add(moments(*seconds[start : start + size]))
    finally:
        tally._BINS = bins
    points = whole.points()
    assert (points, whole.mean, whole.peak) == (parts.points(), parts.mean, parts.peak)
    assert len(points) <= 120
    assert sum(point.emails for point in points) == len(seconds)
    assert points[0].begin <= BEGIN + timedelta(seconds=min(seconds))
    assert len(points) == 1 or points[1].begin - points[0].begin == timedelta(seconds=points[0].seconds)


def test_moments_that_are_none_count_nowhere() -> None:
    """Neither missing ones nor what an odd file says of the years 1969 and 9999."""
    found = Pace()
    odd = np.array(["NaT", "1969-01-01", "9999-06-01", "2026-11-23T10:00:00"], "datetime64[us]")
    found.add(pd.Series(odd).dt.tz_localize("UTC"))
    assert (found.posted, found.first, found.last) == (1, BEGIN, BEGIN)


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"id": ["1"], "contact": ["a@x.example"]}, "contact"),
        ({"support": ["s@x.example", "s@x.example"], "Email": ["a@x.example", None]}, "Email"),
        ({"one": ["a@x.example", ""], "two": ["a@x.example", "b@x.example"]}, "two"),
        ({"email": ["", None], "other": ["a@x.example", 5]}, "other"),
        ({"id": [1, 2], "price": ["3 @ 5", "@"]}, None),
        ({}, None),
    ],
)
def test_the_column_of_addresses_is_found(columns: dict[str, list[Any]], expected: str | None) -> None:
    """By its name where it holds addresses, else by how many it holds."""
    assert address_column(pd.DataFrame(columns), list(columns)) == expected


@pytest.mark.parametrize(
    ("cell", "domain"),
    [
        ("a@X.example", "x.example"),
        ("Ana <a@x.example>", "x.example"),
        ("a@x.example, b@y.example", "x.example"),
        ("a@x.example;b@y.example", "x.example"),
        ("broken@@@Address.@@", "address"),
        ("a@bücher.example.", "bücher.example"),
        ("nobody", ""),
        ("", ""),
        (None, ""),
        (5, ""),
    ],
)
def test_a_domain_is_the_first_addresss(cell: Any, domain: str) -> None:
    assert domain_of(cell) == domain


def test_the_first_rows_are_looked_at_and_not_lost() -> None:
    """Of chunks without rows one is kept for its columns."""
    chunks = [results(ROWS[:0]), results(ROWS[:2]), results(ROWS[2:5])]
    sample, again = with_sample(chunks, 3)
    assert sample["email"].tolist() == ["ana@one.example", "Bea <bea@ONE.example.>", "b@@x"]
    assert [len(chunk) for chunk in again] == [0, 2, 3]
    sample, again = with_sample([results(ROWS[:0])], 3)
    assert (len(sample), "send_key" in sample) == (0, True)
    assert len(list(again)) == 1


@pytest.mark.parametrize(
    ("count", "whole", "text"),
    [
        (0, 5, "0 %"),
        (5, 5, "100 %"),
        (1, 3, "33.3 %"),
        (1, 100_000, "< 0.1 %"),
        (99_999, 100_000, "> 99.9 %"),
        (0, 0, "0 %"),
    ],
)
def test_shares_neither_vanish_nor_become_all(count: int, whole: int, text: str) -> None:
    assert share(count, whole) == text


def test_figures_are_told_in_words() -> None:
    assert [lasting(seconds) for seconds in (0.04, 6.8, 60, 3725, 100_000)] == [
        "0.0 s", "6.8 s", "1 min 00 s", "1 h 02 min", "1 day 3 h",
    ]  # fmt: skip
    assert [pace(rate) for rate in (1234.5, 49.6, 2.34, 0.0123)] == ["1,234", "50", "2.3", "0.012"]
    assert [many(1, "row"), many(2000, "row"), many(2, "address", "addresses")] == [
        "1 row",
        "2,000 rows",
        "2 addresses",
    ]


@pytest.mark.parametrize(
    ("value", "end"), [(0, 1), (0.03, 0.03), (1, 1), (1.2, 1.5), (7, 8), (50, 50), (51, 60), (99, 100)]
)
def test_an_axis_ends_at_a_round_number(value: float, end: float) -> None:
    assert rounded_up(value) == end


# What a notebook shows


KEPT = {"div", "span", "table", "thead", "tbody", "tr", "th", "td", "details", "summary", "img", "b"}
"""Elements that JupyterLab leaves in a notebook that isn't trusted."""


class Reader(html.parser.HTMLParser):
    """Elements, attributes, pictures and text of a display."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.text: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def shown(it: Summary) -> Reader:
    """What a notebook shows; it keeps all of it."""
    reader = Reader(it._repr_html_())
    assert reader.elements <= KEPT
    assert reader.attributes <= {"style", "open", "src", "alt"}
    return reader


def test_a_notebook_shows_doubts_first_and_plots_as_pictures() -> None:
    """Of what an untrusted notebook keeps: tables, inline styles, pictures that hold their own data."""
    found = shown(tb.summary(results()))
    text = "\n".join(found.text)
    order = [text.index(part) for part in ("1 in_doubt", "eve@two.example", "2 sent", "Why emails failed", "by domain")]
    assert order == sorted(order)
    assert "Settle with reconcile or resolve" in text
    assert len(found.sources) == 2
    for source in found.sources:
        kind, data = source.split(",")
        assert kind == "data:image/svg+xml;base64"
        picture = base64.b64decode(data).decode()
        assert picture.startswith("<svg xmlns=")
        assert not re.search(r"<script|href|url\(|var\(|currentColor|#(0[1-6])\1\1", picture)


def test_a_notebook_is_told_where_nothing_is_in_doubt() -> None:
    text = "\n".join(shown(tb.summary(results(ROWS[:2]))).text)
    assert "No email of these rows is in doubt." in text
    assert "failed" in text  # by domain


def test_a_notebook_escapes_every_cell() -> None:
    """Names, keys, reasons, domains, statuses that somebody wrote, deliveries."""
    rows = [
        (f"a@{HOSTILE}", sent(0, HOSTILE, Status.IN_DOUBT)),
        (f"{HOSTILE}@{HOSTILE}", sent(0, f"{HOSTILE}2", Status.REJECTED, HOSTILE)),
    ]
    frame = with_deliveries(results(rows), HOSTILE)
    frame.attrs[CAMPAIGN] = HOSTILE
    frame["send_status"] = frame["send_status"].astype(object)
    frame.loc[1, "send_status"] = HOSTILE
    found = shown(tb.summary(frame))
    assert sum(HOSTILE in text for text in found.text) >= 5


def test_addresses_are_masked_where_the_options_say_so() -> None:
    """In what is shown, not in the figures."""
    tb.options.mask_addresses = True
    try:
        found = tb.summary(results())
        text = "\n".join(shown(found).text)
    finally:
        tb.options.mask_addresses = False
    assert "e…@two.example" in text
    assert "eve@" not in text
    assert found.in_doubt[0].address == "eve@two.example"


# The plots


def test_a_plot_is_the_same_each_time_and_holds_texts_as_text() -> None:
    """Whatever somebody has set for matplotlib; neither a formula nor a colour in a name is read as one."""
    import matplotlib as mpl

    names = ["$x^2$", "#010101 [0]", "\ud800\x07", "&<>\"'", "\u4f60\u597d", "x" * 99]
    lines = [Bar(name, (2, 1), "2 of 3") for name in names]
    first = bars(lines, ["bad", "good"]).inline("p", "T & T", "D")
    with mpl.rc_context({"svg.fonttype": "path", "axes.facecolor": "red", "font.size": 30}):
        again = bars(lines, ["bad", "good"]).inline("p", "T & T", "D")
    assert first == again
    for expected in (">$x^2$<", ">#010101 [0]<", ">\ufffd\u2407<", ">&amp;&lt;&gt;", ">\u4f60\u597d<", "x" * 22 + "…<"):
        assert expected in first
    assert '<svg viewBox="0 0 520 146" role="img" aria-labelledby="p-title p-text">' in first
    assert '<title id="p-title">T &amp; T</title>' in first
    assert not re.search(r"red|font-family|https?:|<style|<defs|id=\"(?!p-)", first)


@pytest.mark.parametrize("seconds", [0.1, 5, 1800, 86_400, 604_800])
def test_the_paces_axis_tells_round_moments(seconds: float) -> None:
    """At least one, at most six, each a clock's time or a day."""
    points = [PacePoint(BEGIN + timedelta(seconds=seconds * place), seconds, place % 3) for place in range(100)]
    plot = pace_chart(points)
    ticks = [text for text in plot.texts if re.fullmatch(r"(\d\d-\d\d )?\d\d:\d\d(:\d\d)?|\d{4}-\d\d-\d\d", text)]
    assert 1 <= len(ticks) <= 6
    assert len(set(ticks)) == len(ticks)
