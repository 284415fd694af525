"""What became of accepted emails, by the vendor's analytics: results joined with deliveries."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from turbobatch.errors import CampaignError
from turbobatch.policy import Status
from turbobatch.results import RESULT_COLUMNS
from turbobatch.spill import Spill

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import pandas as pd

    from turbobatch.client import TurboClient
    from turbobatch.management import AnalyticsRow


class Delivery(StrEnum):
    """What became of an accepted email, the worst first; the values of the `delivery_status` column."""

    BOUNCED = "bounced"
    DROPPED = "dropped"  # the vendor didn't try: the address is on its suppression list, say
    COMPLAINT = "complaint"
    UNSUBSCRIBED = "unsubscribed"
    QUEUED = "queued"
    DELIVERED = "delivered"
    OPENED = "opened"


UNDELIVERED = frozenset({Delivery.BOUNCED, Delivery.DROPPED, Delivery.COMPLAINT, Delivery.UNSUBSCRIBED})
"""What an email's recipient didn't get, or didn't want."""

_BY_VENDOR = {
    "FAIL": Delivery.BOUNCED,
    "SYSFAIL": Delivery.DROPPED,
    "REPORT": Delivery.COMPLAINT,
    "UNSUB": Delivery.UNSUBSCRIBED,
    "NEW": Delivery.QUEUED,
    "DEFER": Delivery.QUEUED,
    "SUCCESS": Delivery.DELIVERED,
    "OPEN": Delivery.OPENED,
    "CLICK": Delivery.OPENED,  # who clicks has opened it
}
_WORST_FIRST = {str(status): rank for rank, status in enumerate(Delivery)}


class DeliveryOf(NamedTuple):
    """One email's columns: the worst of its recipients' statuses, whom that concerns, and why; and all failures."""

    delivery_status: str
    delivery_address: str  # separated by commas
    delivery_reason: str | None
    delivery_failures: str | None  # JSON, which every format keeps: [address, status, reason] of each such recipient


DELIVERY_COLUMNS = DeliveryOf._fields


def has_deliveries(columns: Iterable[object]) -> bool:
    """Whether results of these columns were joined with deliveries: then they stand right after the result columns.

    A table's own columns may be called the same: they stand before the result columns.
    """
    names, worst = list(columns), list(DELIVERY_COLUMNS[:-1])  # the last may have been taken out by hand
    begin = names.index(RESULT_COLUMNS[-1]) + 1 if RESULT_COLUMNS[-1] in names else len(names)
    return names[begin : begin + len(worst)] == worst and all(names.count(name) == 1 for name in worst)


def delivery_of(recipients: Iterable[tuple[str, str, str]]) -> DeliveryOf:
    """What became of an email, of its recipients' (vendor's status, address, error); at least one."""
    found = [(status_of(status), address, error) for status, address, error in recipients]
    worst = min((status for status, _, _ in found), key=lambda status: _WORST_FIRST.get(status, len(_WORST_FIRST)))
    concerned = [(address, error) for status, address, error in found if status == worst]
    reasons = dict.fromkeys(error for _, error in concerned if error)
    addresses = dict.fromkeys(address for address, _ in concerned)
    failures = list(
        dict.fromkeys((address, status, error) for status, address, error in found if status in UNDELIVERED)
    )
    told = json.dumps(failures, ensure_ascii=False) if failures else None
    return DeliveryOf(worst, ", ".join(addresses), "; ".join(reasons) or None, told)


def failures_of(told: str) -> list[tuple[str, str, str]]:
    """Read (address, status, reason) of each failed recipient from `delivery_failures`; nothing from any other text."""
    try:
        rows = json.loads(told)
    except (ValueError, RecursionError):  # changed by hand, or cut to fit into a cell
        return []
    match rows:
        case list() if all(isinstance(row, list) and [*map(type, row)] == [str] * 3 for row in rows):
            return [(address, status, reason) for address, status, reason in rows if status in UNDELIVERED]
    return []


def status_of(word: str) -> str:
    """The delivery status that a vendor's word stands for; an unknown word stays as it is, in lower case."""
    return _BY_VENDOR.get(word.upper(), word.lower())


def recipient(row: AnalyticsRow) -> tuple[str, str, str]:
    """What `delivery_of` takes of a row of the analytics."""
    return row.status, row.recipient, row.error


def with_delivery(results: pd.DataFrame, client: TurboClient, *, campaign: str | None = None) -> pd.DataFrame:
    """Results with what became of each sent email: `delivery_status, delivery_address, delivery_reason`.

    Statuses: bounced, dropped, complaint, unsubscribed, queued, delivered, opened; of an email to several people the
    worst. Missing where the row isn't sent, has no `send_mid` (v1), or the analytics don't show it.
    `delivery_failures` has all of its recipients that are one of the first four, as JSON: [[address, status, reason]].

    Args:
        results: what `Campaign.results` or `send` returned, or `read_report` read.
        client: a v2 account.
        campaign: the campaign's name, which makes the vendor's list shorter where the account has others too.

    Raises:
        CampaignError: these are no results, the table has columns of these names, or the client is no v2 account's.
        AuthenticationError, ManagementError: the vendor couldn't be asked.
    """
    from turbobatch.frames import as_results

    return as_results(Deliveries.fetch([results], client, campaign=campaign).joined(results))


@dataclass(slots=True)
class Deliveries:
    """What the analytics tell of some sent emails, by message id; kept out of memory where they are many."""

    counts: Counter[str] = field(default_factory=Counter)  # rows by delivery status, of what was joined
    unknown: int = 0  # rows that are sent, and that nothing is known of
    _seen: Spill[str] = field(default_factory=Spill)

    @classmethod
    def fetch(
        cls,
        results: Iterable[pd.DataFrame],
        client: TurboClient,
        *,
        campaign: str | None = None,
        tick: Callable[[int], object] = lambda _: None,
    ) -> Self:
        """Ask for the days in which the sent rows of these chunks left. `tick` is told of each analytics row read."""
        found = cls()
        days = found._remember(results)
        if days is None:
            return found
        since, until = days
        for row in client.analytics(since - timedelta(days=1), until + timedelta(days=1), filter=campaign):
            tick(1)
            if row.id in found._seen:
                known = json.loads(found._seen[row.id])
                found._seen[row.id] = json.dumps([*known, recipient(row)])
        return found

    def joined(self, chunk: pd.DataFrame) -> pd.DataFrame:
        """The same rows with their delivery columns right after the result columns, counted.

        Raises:
            CampaignError: these are no results, or the table has columns of these names.
        """
        import pandas as pd

        _check(chunk)
        cells = [self._of(mid) for mid in chunk["send_mid"].where(chunk["send_status"] == Status.SENT).tolist()]
        self.counts.update(item.delivery_status for item in cells if item is not None)
        self.unknown += sum(item is None for item in cells) - int((chunk["send_status"] != Status.SENT).sum())
        columns = zip(*(item or (None,) * len(DELIVERY_COLUMNS) for item in cells), strict=True)
        filled = dict(zip(DELIVERY_COLUMNS, columns, strict=True)) if cells else dict.fromkeys(DELIVERY_COLUMNS, ())
        made = chunk.drop(columns=[name for name in DELIVERY_COLUMNS if name in chunk.columns])
        begin = list(made.columns).index(RESULT_COLUMNS[-1]) + 1
        for place, (name, texts) in enumerate(filled.items(), begin):
            made.insert(place, name, pd.Series(texts, index=made.index, dtype="string"))
        made.attrs = chunk.attrs
        return made

    def _of(self, mid: Any) -> DeliveryOf | None:
        seen = json.loads(self._seen.get(mid, "[]")) if isinstance(mid, str) else []
        return delivery_of(seen) if seen else None

    def _remember(self, results: Iterable[pd.DataFrame]) -> tuple[Any, Any] | None:
        """Note the message ids to look for; tells the first and the last day, if there is any."""
        first = last = None
        for chunk in results:
            _check(chunk)
            sent = chunk[(chunk["send_status"] == Status.SENT) & chunk["send_mid"].notna()]
            if sent.empty:
                continue
            mids = sent["send_mid"].tolist()
            self._seen.setdefaults(mids, ["[]"] * len(mids))
            begun, ended = sent["send_time"].min().date(), sent["send_time"].max().date()
            first, last = min(first or begun, begun), max(last or ended, ended)
        return None if first is None else (first, last)


def _check(results: pd.DataFrame) -> None:
    if missing := [name for name in RESULT_COLUMNS if name not in results.columns]:
        raise CampaignError(f"these are no results, they have no column {missing[0]!r}")
    own = [name for name in DELIVERY_COLUMNS if name in results.columns]
    if own and not has_deliveries(results.columns):
        names = ", ".join(map(repr, own))
        raise CampaignError(f"the table has columns of its own called {names}, as deliveries are: rename them")
