"""What became of a table's rows, in figures, and how a notebook shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from turbobatch.charts import category_chart, domain_name, pace_chart
from turbobatch.markup import Html, badge, box, escaped, fold, line, table
from turbobatch.plots import is_there
from turbobatch.policy import Status
from turbobatch.telling import lasting, many, moment, pace, share

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from turbobatch.tally import CategoryCount, CauseCount, DomainCount, PacePoint

_LINES = 10  # of a table in a notebook
_LISTED = 50  # emails in doubt, or failed addresses, in a notebook


class StatusCount(NamedTuple):
    """One status: how many rows have it, and how many emails that makes."""

    status: str
    rows: int
    emails: int


class DeliveryCount(NamedTuple):
    """What became of emails after they were sent; blank where nothing is known."""

    delivery_status: str
    emails: int


class Doubt(NamedTuple):
    """An email that a POST may have sent."""

    row: int
    send_key: str
    address: str  # the cell that holds it; blank where no column does
    send_message: str
    send_time: datetime | None


class Failure(NamedTuple):
    """One failed address of an email, or what else was wrong with it; blank where nothing is known."""

    row: int
    send_key: str
    recipient: str  # the cell that holds the email's address; blank where no column does
    address: str  # the failed one; blank where the trouble isn't one address's
    field: str
    status: str
    category: str
    reason: str
    suggestion: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Summary:
    """The figures of some results. `pd.DataFrame(it.domains)` makes a table of any of its tuples.

    Rows are the table's. An email is what has one key: the rows of a group make one, a duplicate makes none, a row
    without a key counts as one.
    """

    campaign: str  # its name; blank where the results don't tell
    rows: int
    emails: int
    statuses: tuple[StatusCount, ...]  # in their own order
    posted: int  # emails that were posted and have a time
    first: datetime | None  # of these times, in UTC
    last: datetime | None
    mean: float  # emails per second, pauses included
    peak: float  # emails in the busiest second
    pace: tuple[PacePoint, ...]
    in_doubt: tuple[Doubt, ...]  # the first ones
    failures: int  # failed addresses; those of one email count once, and emails in doubt don't
    failed_emails: int  # that have some
    failed: tuple[Failure, ...]  # the first ones
    categories: tuple[CategoryCount, ...]  # the most frequent first, as the next two
    causes: tuple[CauseCount, ...]
    other_causes: int  # failed addresses of causes that weren't counted apart
    address_column: str | None  # whose domains were counted
    domains: tuple[DomainCount, ...]  # those with most failures first
    other_domains: DomainCount  # all those together that weren't counted apart
    deliveries: tuple[DeliveryCount, ...]  # none where the results don't tell

    def count(self, *statuses: Status) -> int:
        """How many emails have one of these statuses."""
        return sum(item.emails for item in self.statuses if item.status in statuses)

    @property
    def seconds(self) -> float:
        """From the first verdict to the last."""
        return (self.last - self.first).total_seconds() if self.first and self.last else 0.0

    @property
    def when(self) -> str:
        """When its emails were posted, in one sentence."""
        if self.first is None or self.last is None:
            return "Nothing was posted yet."
        begin, end = moment(self.first), moment(self.last)
        if begin == end:
            return f"Posted at {begin} UTC"
        end = end.removeprefix(begin[: begin.index(" ") + 1])  # the same day isn't told twice
        return f"Posted from {begin} to {end} UTC, in {lasting(self.seconds)}"

    def __repr__(self) -> str:
        name = f" of {self.campaign}" if self.campaign else ""
        counts = "".join(f", {item.emails:,} {item.status}" for item in self.statuses if item.emails)
        return f"<Summary{name}: {many(self.rows, 'row')}, {many(self.emails, 'email')}{counts}>"

    def _repr_html_(self) -> str:
        return f"<div>{''.join(_parts(self))}</div>"


def _parts(it: Summary) -> Iterator[Html]:
    """What a notebook shows, from what it keeps though nobody trusts it."""
    name = [Html(f"<b>{escaped(it.campaign)}</b>")] if it.campaign else []
    yield line(*name, f"{many(it.emails, 'email')}. {it.when}")
    yield _doubts(it)
    yield line(f"{many(it.rows, 'row')}:", *(badge(item.status or "(none)", item.rows) for item in it.statuses))
    if it.posted:
        yield line(f"{pace(it.mean)} emails a second, pauses included; {pace(it.peak)} in the busiest second")
    if it.pace and is_there():
        yield pace_chart(it.pace).image("emails per second over time")
    if it.failures:
        yield _failures(it)
    if it.domains:
        domains = [
            (domain_name(item), f"{item.emails:,}", f"{item.failed:,}", share(item.failed, item.emails))
            for item in it.domains[:_LINES]
        ]
        yield fold(
            f"Emails by domain{_of(domains, it.domains)}", _numbers(("domain", "emails", "failed", "share"), domains)
        )
    if it.deliveries:
        whole = sum(item.emails for item in it.deliveries)
        states = [
            (item.delivery_status or "nothing known", f"{item.emails:,}", share(item.emails, whole))
            for item in it.deliveries
        ]
        yield fold("What was delivered", _numbers(("delivery", "emails", "share"), states))


def _doubts(it: Summary) -> Html:
    count = it.count(Status.IN_DOUBT)
    if not count:
        return line("No email of these rows is in doubt.")
    rows = [(item.row, item.send_key, item.address, item.send_message) for item in it.in_doubt[:_LISTED]]
    said = "may have been sent, or not; nothing in doubt is sent again by itself. Settle with reconcile or resolve."
    head = line(badge(Status.IN_DOUBT, count), said)
    more = line(f"and {count - len(rows):,} more") if count > len(rows) else Html()
    return box(head, table(("row", "key", "address", "what is known"), rows, numbers=[0]), more)


def _failures(it: Summary) -> Html:
    causes = [(item.category, item.cause, f"{item.addresses:,}") for item in it.causes[:_LINES]]
    listed = [
        (item.row, item.address or item.recipient, item.category, item.reason, item.suggestion)
        for item in it.failed[:_LISTED]
    ]
    names = ("row", "address", "how", "reason", "suggestion")
    plot = category_chart(it.categories).image("failed addresses by how they failed") if is_there() else Html()
    table_of_causes = table(("how", "what was said", "addresses"), causes, numbers=[2])
    more = f" (the first {len(listed)})" if it.failures > len(listed) else ""
    failed = fold(f"{many(it.failures, 'failed address', 'failed addresses')}{more}", table(names, listed, numbers=[0]),
                  is_open=False)  # fmt: skip
    return Html(fold(f"Why emails failed{_of(causes, it.causes)}", Html(plot + table_of_causes)) + failed)


def _numbers(names: tuple[str, ...], rows: Sequence[Sequence[str]]) -> Html:
    """A table that has numbers in all columns but the first."""
    return table(names, rows, numbers=range(1, len(names)))


def _of(shown: Sequence[object], all_of_them: Sequence[object]) -> str:
    return f" (the first {len(shown)} of {len(all_of_them):,})" if len(shown) < len(all_of_them) else ""
