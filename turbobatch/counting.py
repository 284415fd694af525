"""Results, chunk by chunk → their Summary: the one computation behind the report page and `turbobatch.summary`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from turbobatch.delivery import DELIVERY_COLUMNS, has_deliveries
from turbobatch.failures import AS_MEANT, Category, FailedAddress, failures_in
from turbobatch.markup import cause, shortened
from turbobatch.overview import DeliveryCount, Doubt, Failure, StatusCount, Summary
from turbobatch.policy import Status
from turbobatch.results import CAMPAIGN, RESULT_COLUMNS, check_results, row_numbers
from turbobatch.tally import (
    Bounded,
    CategoryCount,
    CauseCount,
    DomainCount,
    Keys,
    Pace,
    address_column,
    domain_of,
    with_sample,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

SAMPLE = 200
"""Rows, the first ones, that show where the addresses are, and that a page shows."""

KEPT = 1000
"""Emails in doubt, and failed addresses, that are kept one by one: the first ones."""

_DOMAINS, _CAUSES, _STATUSES = 50_000, 5000, 100  # that are counted apart
_REASON = 1000  # characters of a reason that is kept
_CAUSE = 200  # characters of one that is counted
_OTHERS = "@"  # no domain: stands for those that aren't counted apart
_FAILED = "@"  # no status: for an address in this domain
_NO_FAILURE = AS_MEANT | {Category.IN_DOUBT}


def summarise(results: Iterable[pd.DataFrame]) -> Summary:
    """Count results, chunk by chunk.

    Raises:
        CampaignError: these are no results.
    """
    sample, chunks = with_sample(results, SAMPLE)
    counting = Counting(sample)
    for chunk in chunks:
        counting.add(chunk)
    return counting.summary()


def are_results(columns: Iterable[object]) -> bool:
    """Whether a frame of these columns has the result columns."""
    return set(RESULT_COLUMNS) <= set(columns)


class Counting:
    """Results while they are counted; `sample` are their first rows."""

    def __init__(self, sample: pd.DataFrame) -> None:
        check_results(sample.columns)
        names = Counter(sample.columns)
        self.has_deliveries = has_deliveries(sample.columns)
        joined = {*RESULT_COLUMNS, *(DELIVERY_COLUMNS if self.has_deliveries else ())}
        own = [name for name in names if names[name] == 1 and name not in joined]
        self.address_column = address_column(sample, own)
        self.rows = 0
        self.campaign = str(sample.attrs.get(CAMPAIGN, ""))
        self._keys, self._pace = Keys(), Pace()
        self._by_rows, self._by_emails = Bounded(_STATUSES), Bounded(_STATUSES)
        self._domains, self._in_domains = Bounded(_DOMAINS), Counter[tuple[str, str]]()
        self._deliveries, self._causes = Bounded(_STATUSES), Bounded(_CAUSES)
        self._categories: Counter[str] = Counter()
        self._doubts: list[Doubt] = []
        self._failed: list[Failure] = []
        self._failed_emails = 0

    def add(self, chunk: pd.DataFrame) -> None:
        """Count the next rows."""
        statuses = [_text(status) for status in chunk["send_status"].tolist()]
        keys = [_text(key) or None for key in chunk["send_key"].tolist()]
        is_email = self._emails(statuses, keys)
        self._by_rows.add(statuses)
        self._by_emails.add(status for status, is_one in zip(statuses, is_email, strict=True) if is_one)
        emails = chunk[is_email]
        self._pace.add(emails["send_time"][(emails["send_attempts"] > 0).fillna(value=False)])
        if self.has_deliveries:
            sent = (emails["send_status"] == Status.SENT) | emails[DELIVERY_COLUMNS[0]].notna()
            self._deliveries.add(map(_text, emails[DELIVERY_COLUMNS[0]][sent.fillna(value=False)].tolist()))
        failed = self._add_failures(chunk, is_email)
        if self.address_column is not None:
            firsts = [domain_of(cell) for cell in chunk[self.address_column].tolist()]
            self._add_domains(
                firsts, [status if is_one else None for status, is_one in zip(statuses, is_email, strict=True)], failed
            )
        self._add_doubts(chunk, is_email)
        self.rows += len(chunk)

    def _emails(self, statuses: list[str], keys: list[str | None]) -> npt.NDArray[np.bool_]:
        """Which rows are an email's first one."""
        import numpy as np

        is_email = np.array([status != Status.DUPLICATE for status in statuses], dtype=bool)
        places = np.flatnonzero(is_email)
        is_email[places] = self._keys.first([keys[place] for place in places])
        return is_email

    def _add_failures(self, chunk: pd.DataFrame, is_email: npt.NDArray[np.bool_]) -> dict[int, list[str]]:
        """Count the failed addresses; tells their domains by the place of their email, blank where unknown."""
        failed: dict[int, list[str]] = {}
        numbers = row_numbers(chunk, self.rows)
        for found in failures_in(chunk, self.rows):
            place = found.row - self.rows
            item = found._replace(row=numbers[place])
            if item.category in _NO_FAILURE or not is_email[place]:
                continue
            failed.setdefault(place, []).append(domain_of(item.address))
            reason = _text(item.reason)
            self._categories[item.category] += 1
            self._causes.add([(str(item.category), shortened(cause(reason), _CAUSE))])
            if len(self._failed) < KEPT:
                self._failed.append(self._failure(item, chunk, place))
        self._failed_emails += len(failed)
        return failed

    def _add_domains(self, firsts: list[str], statuses: list[str | None], failed: dict[int, list[str]]) -> None:
        """Count emails under their first recipients' domains, and under those of failed addresses.

        A status is None where a row is none of an email's own.
        """
        told: list[tuple[str, str]] = []
        for place, (first, status) in enumerate(zip(firsts, statuses, strict=True)):
            if status is None:
                continue
            blamed = dict.fromkeys(domain or first for domain in failed.get(place, ()))
            if first not in blamed:
                told.append((first, status))
            told += [(domain, _FAILED) for domain in blamed]
        self._domains.add(domain for domain, _ in told)
        self._in_domains.update(
            (domain if domain in self._domains.counts else _OTHERS, became) for domain, became in told
        )

    def _failure(self, item: FailedAddress, chunk: pd.DataFrame, place: int) -> Failure:
        named = self.address_column
        recipient = chunk[named].iloc[place] if named is not None else ""
        return Failure(
            row=item.row,
            send_key=_text(item.send_key),
            recipient=_text(recipient),
            address=_text(item.address),
            field=_text(item.field),
            status=_text(item.status),
            category=str(item.category),
            reason=shortened(_text(item.reason), _REASON),
            suggestion=_text(item.suggestion),
        )

    def _add_doubts(self, chunk: pd.DataFrame, is_email: npt.NDArray[np.bool_]) -> None:
        wanted = KEPT - len(self._doubts)
        is_doubt = (chunk["send_status"] == Status.IN_DOUBT).fillna(value=False).to_numpy(dtype=bool) & is_email
        numbers = row_numbers(chunk, self.rows)
        places = is_doubt.nonzero()[0][:wanted].tolist()
        rows = chunk.iloc[places]
        addresses = rows[self.address_column].tolist() if self.address_column is not None else [""] * len(rows)
        columns = (rows[name].tolist() for name in ("send_key", "send_message", "send_time"))
        for place, address, key, message, time in zip(places, addresses, *columns, strict=True):
            text = shortened(_text(message), _REASON)
            self._doubts.append(Doubt(numbers[place], _text(key), _text(address), text, _moment(time)))

    def summary(self) -> Summary:
        """The figures so far."""
        pace = self._pace
        return Summary(
            campaign=self.campaign,
            rows=self.rows,
            emails=sum(self._by_emails.counts.values()) + self._by_emails.others,
            statuses=self._statuses(),
            posted=pace.posted,
            first=pace.first,
            last=pace.last,
            mean=pace.mean,
            peak=pace.peak,
            pace=pace.points(),
            in_doubt=tuple(self._doubts),
            failures=self._categories.total(),
            failed_emails=self._failed_emails,
            failed=tuple(self._failed),
            categories=tuple(CategoryCount(str(name), count) for name, count in _frequent(self._categories)),
            causes=tuple(CauseCount(kind, said, count) for (kind, said), count in _frequent(self._causes.counts)),
            other_causes=self._causes.others,
            address_column=self.address_column,
            domains=self._domain_counts(),
            other_domains=self._domain_count("other domains", _OTHERS, self._domains.others),
            deliveries=tuple(DeliveryCount(*item) for item in _frequent(self._deliveries.counts)),
        )

    def _statuses(self) -> tuple[StatusCount, ...]:
        """By status in the order of their enum; unknown ones, as somebody may have written them, come last."""
        rows, emails = self._by_rows.counts, self._by_emails.counts
        known = [status for status in map(str, Status) if status in rows]
        counts = [StatusCount(name, rows[name], emails[name]) for name in [*known, *sorted(rows.keys() - set(known))]]
        others = StatusCount("others", self._by_rows.others, self._by_emails.others)
        return tuple(counts + [others] * bool(others.rows))

    def _domain_counts(self) -> tuple[DomainCount, ...]:
        found = [self._domain_count(name, name, count) for name, count in self._domains.counts.items()]
        return tuple(sorted(found, key=lambda item: (-item.failed, -item.emails, item.domain)))

    def _domain_count(self, name: str, domain: str, emails: int) -> DomainCount:
        failed, sent, in_doubt = (self._in_domains[domain, it] for it in (_FAILED, Status.SENT, Status.IN_DOUBT))
        return DomainCount(name, emails, failed, sent, in_doubt)


def _frequent(counts: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _moment(time: Any) -> datetime | None:
    import pandas as pd

    return time.to_pydatetime() if isinstance(time, pd.Timestamp) else None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
