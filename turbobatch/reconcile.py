"""Rows in doubt, settled by the vendor's analytics: what is found there was accepted; what isn't stays in doubt.

An email is recognised by the campaign's label, whom it went to, and when; where the table still makes the very email
that was posted, by its subject too. What several emails could be is said, and not guessed; nor is an email believed to
be the one in doubt that another key may have left unknown to the journal (it was settled by hand, or posted again).
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from turbobatch.addresses import Address, AddressError, digest_of, parse_list
from turbobatch.delivery import delivery_of, recipient
from turbobatch.journal import Outcome
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from turbobatch.client import TurboClient
    from turbobatch.journal import Entry, Journal
    from turbobatch.management import AnalyticsRow
    from turbobatch.merge import Merged
    from turbobatch.progress import Tick
    from turbobatch.units import Source

GRACE = 3600.0  # seconds after its POST from which an email that the analytics don't show is said not to be found
_SKEW = 600.0  # seconds that the vendor's clock and ours may differ


class Trace(StrEnum):
    """What the analytics tell of an email in doubt."""

    FOUND = "found"  # one email that can't be another: it was accepted
    UNCLEAR = "unclear"  # emails that it could be
    MISSING = "missing"  # none, though it is long enough ago
    EARLY = "too early"  # none yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """What came of one email in doubt. `mids` are those of the emails that it is, or could be."""

    key: str
    trace: Trace
    message: str
    mids: tuple[str, ...] = ()
    delivery: str | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it isn't in doubt any more."""
        return self.trace is Trace.FOUND


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """An email in doubt, and what it can be recognised by.

    Attributes:
        recipients: the digest of whom it went to.
        digest: of its content.
        first: when its first POST began, in seconds since the epoch.
        last: when its last one had ended, at the latest.
        addresses: whom it went to, lower-case, where the table still has the email.
        asked: the address of these by which it is looked for.
        subject: of the email, where the table still makes the very same.
    """

    key: str
    recipients: str
    digest: str
    first: float
    last: float
    addresses: frozenset[str] = frozenset()
    asked: str = ""
    subject: str | None = None


@dataclass(slots=True)
class Sighting:
    """One email in the analytics, of whose recipients each may have a row of its own."""

    mid: str
    rows: list[AnalyticsRow] = field(default_factory=list)

    @property
    def label(self) -> str:
        """The campaign that it says it belongs to."""
        return next((row.x_campaign_id for row in self.rows if row.x_campaign_id), "")

    @property
    def addresses(self) -> frozenset[str]:
        """Whom it went to, as far as the rows tell, lower-case."""
        return frozenset(address for row in self.rows for address in _addresses(row.recipient))


def reconcile(
    journal: Journal, source: Source | None, client: TurboClient, campaign: str, *, grace: float, tick: Tick
) -> list[Reconciled]:
    """Settle what is in doubt and was found, in the order of keys; the rest stays in doubt, with a word on each.

    Args:
        journal: the campaign's, to oneself.
        source: the table, if there is one; what has left it is recognised by its recipients' digest.
        client: a v2 account.
        campaign: the label that its emails carry.
        grace: seconds after its POST in which an email may not show yet.
        tick: is told of each email in doubt that was looked for.

    Raises:
        CampaignError: the client is no v2 account's.
        AuthenticationError, ManagementError: the vendor couldn't be asked; nothing was settled.
    """
    doubts = doubts_of(journal, client.timeout)
    rivals = rivals_of(journal, doubts)
    if source is not None and doubts:
        told_by_table = list(_recognisable([*doubts, *rivals], source))
        keys = {doubt.key for doubt in doubts}
        rivals = [item for item in told_by_table if item.key not in keys]
        doubts = sorted((item for item in told_by_table if item.key in keys), key=lambda item: item.key)
    doubts = _with_least_shared(doubts, rivals)
    sightings: dict[str, list[Sighting]] = {}
    for doubt, seen in _look_for(doubts, client, campaign):
        sightings[doubt.key] = seen
        tick(1)
    taken = journal.known_mids(item.mid for found in sightings.values() for item in found)
    now = time.time()
    told = Judge(campaign=campaign, grace=grace, now=now).decide(doubts, sightings, taken, rivals)
    journal.commit((), [_outcome(item, now) for item in told if item.is_settled])
    return told


def doubts_of(journal: Journal, timeout: float) -> list[Doubt]:
    """All emails in doubt that nobody waits for. `timeout`: seconds that a POST whose end is unknown can have taken."""
    entries = [entry for entry in journal.entries(Status.IN_DOUBT) if not entry.in_flight]
    spans = journal.post_spans(entry.key for entry in entries)
    return [_doubt(entry, spans.get(entry.key), timeout) for entry in entries]


def rivals_of(journal: Journal, doubts: Sequence[Doubt]) -> list[Doubt]:
    """What isn't in doubt, and may have left emails in the same time that the journal knows no message id of."""
    if not doubts:
        return []
    since, until = min(item.first for item in doubts) - 2 * _SKEW, max(item.last for item in doubts) + 2 * _SKEW
    return [_doubt(entry, None, 0.0) for entry in journal.unaccounted(since, until)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Decides what was seen of each doubt. Pure.

    Args:
        campaign: the label.
        grace: seconds, see `reconcile`.
        now: seconds since the epoch.
    """

    campaign: str
    grace: float
    now: float

    def decide(
        self,
        doubts: Sequence[Doubt],
        sightings: Mapping[str, Sequence[Sighting]],
        taken: set[str],
        rivals: Sequence[Doubt] = (),
    ) -> list[Reconciled]:
        """Tell of each doubt what was seen of it, by its key.

        `taken` are the message ids that are other emails', `rivals` what may have left some that nobody knows.
        """
        free = {key: [item for item in found if item.mid not in taken] for key, found in sightings.items()}
        cases = [(doubt, [item for item in free.get(doubt.key, ()) if self._fits(item, doubt)]) for doubt in doubts]
        claims = Counter(item.mid for _, fitting in cases for item in fitting)
        found = {
            doubt.key: self._found(doubt, fitting, claims, [item for item in rivals if _may_be(item, doubt)])
            for doubt, fitting in cases
        }
        settled = {mid for item in found.values() if item is not None for mid in item.mids}

        def left(doubt: Doubt) -> list[Sighting]:
            return [item for item in free.get(doubt.key, ()) if item.mid not in settled]

        return [found[doubt.key] or self._not_found(doubt, fitting, left(doubt)) for doubt, fitting in cases]

    def _found(
        self, doubt: Doubt, fitting: Sequence[Sighting], claims: Mapping[str, int], rivals: Sequence[Doubt]
    ) -> Reconciled | None:
        named = [item for item in fitting if _is_named(item, doubt)]
        if not named and (len(fitting) != 1 or claims[fitting[0].mid] > 1 or rivals):
            return None
        seen = named or fitting
        delivery = delivery_of(map(recipient, seen[0].rows)).delivery_status
        times = f", {len(seen)} times" if len(seen) > 1 else ""
        message = f"found in the vendor's analytics{times}: {delivery}"
        return Reconciled(key=doubt.key, trace=Trace.FOUND, message=message, mids=_mids(seen), delivery=delivery)

    def _not_found(self, doubt: Doubt, fitting: Sequence[Sighting], seen: Sequence[Sighting]) -> Reconciled:
        if fitting:
            why = "more than one email fits" if len(fitting) > 1 else "the email that fits could be another row's"
            return Reconciled(key=doubt.key, trace=Trace.UNCLEAR, message=why, mids=_mids(fitting))
        if near := [item for item in seen if self._is_near(item, doubt)]:
            why = "an email to the same address left with another subject or label, or at another time"
            return Reconciled(key=doubt.key, trace=Trace.UNCLEAR, message=why, mids=_mids(near))
        ago = self.now - doubt.last
        if ago < self.grace:
            when = datetime.fromtimestamp(doubt.last + self.grace, UTC).strftime("%H:%M UTC")
            message = f"not in the analytics yet: ask again after {when}"
            return Reconciled(key=doubt.key, trace=Trace.EARLY, message=message)
        message = f"not in the analytics {ago / 3600:.1f} hours after its POST"
        return Reconciled(key=doubt.key, trace=Trace.MISSING, message=message)

    def _fits(self, item: Sighting, doubt: Doubt) -> bool:
        """Whether all that can be compared is the same."""
        if item.label != self.campaign:
            return False
        return _is_named(item, doubt) or (_is_timely(item, doubt) and _has_subject(item, doubt))

    def _is_near(self, item: Sighting, doubt: Doubt) -> bool:
        """Whether it might be the email all the same: v1's emails have no label."""
        is_ours = item.label == self.campaign
        return is_ours or (not item.label and _is_timely(item, doubt) and _has_subject(item, doubt))


def _mids(found: Iterable[Sighting]) -> tuple[str, ...]:
    return tuple(item.mid for item in found)


def _is_named(item: Sighting, doubt: Doubt) -> bool:
    """Whether the vendor itself says that it is this email; its documentation doesn't promise that it does."""
    return any(row.reference_id == doubt.key for row in item.rows)


def _is_timely(item: Sighting, doubt: Doubt) -> bool:
    times = [row.send_time.timestamp() for row in item.rows if row.send_time is not None]
    return any(doubt.first - _SKEW <= at <= doubt.last + _SKEW for at in times)


def _has_subject(item: Sighting, doubt: Doubt) -> bool:
    return doubt.subject is None or any(_plain(row.subject) == _plain(doubt.subject) for row in item.rows)


def _may_be(rival: Doubt, doubt: Doubt) -> bool:
    """Whether an email of the rival's could look like the doubt's."""
    if rival.subject is not None and doubt.subject is not None and _plain(rival.subject) != _plain(doubt.subject):
        return False
    if doubt.asked and rival.addresses:
        return doubt.asked in rival.addresses
    # Looked for by all recipients at once, only the very same can be taken for it; by one, whoever isn't known.
    return bool(doubt.asked) or rival.recipients == doubt.recipients


def _plain(text: str) -> str:
    return " ".join(text.split())


def _doubt(entry: Entry, span: tuple[float, float] | None, timeout: float) -> Doubt:
    # An answer that didn't prove anything came at the entry's own time; after a crash nobody knows how long it took.
    at = entry.time or 0.0
    first, last = span or (at, at)
    last = max(last + (entry.seconds if entry.seconds is not None else timeout), at)
    first = min(first, at or first)
    return Doubt(key=entry.key, recipients=entry.recipients or "", digest=entry.digest or "", first=first, last=last)


def _recognisable(doubts: Sequence[Doubt], source: Source) -> Iterator[Doubt]:
    """The same with what the table tells of them; it is read until all have been found."""
    wanted = {doubt.key: doubt for doubt in doubts}
    for finding in source.find() if wanted else ():
        doubt = wanted.get(finding.key or "")
        if doubt is None or finding.status is not None:
            continue
        del wanted[doubt.key]
        yield _seen_in_table(doubt, finding.merged_by(source.merger))
        if not wanted:
            return
    yield from wanted.values()


def _seen_in_table(doubt: Doubt, merged: Merged) -> Doubt:
    email = merged.email
    if email is None or digest_of(email.recipients) != doubt.recipients:
        return doubt  # the row goes to others now than those whom it was posted to
    addresses = frozenset(item.email.lower() for item in email.recipients)
    return replace(doubt, addresses=addresses, subject=email.subject if merged.digest == doubt.digest else None)


def _with_least_shared(doubts: Sequence[Doubt], rivals: Sequence[Doubt]) -> list[Doubt]:
    """Each doubt with the address to look for it by: the one that fewest others have, such as no archive's."""
    shared = Counter(address for item in (*doubts, *rivals) for address in item.addresses)
    return [
        replace(item, asked=min(item.addresses, key=lambda address: (shared[address], address)))
        if item.addresses
        else item
        for item in doubts
    ]


def _look_for(doubts: Sequence[Doubt], client: TurboClient, campaign: str) -> Iterator[tuple[Doubt, list[Sighting]]]:
    """What the analytics show of each: asked by address, or where that isn't known, all that has the label."""
    unknown = []
    for doubt in doubts:
        if not (address := doubt.asked):
            unknown.append(doubt)
            continue
        rows = client.analytics(*_days(doubt.first, doubt.last), filter=address, filter_by="recipient")
        mine = (row for row in rows if address in _addresses(row.recipient))
        yield doubt, list(_grouped(mine).values())
    if not unknown:
        return
    days = _days(min(item.first for item in unknown), max(item.last for item in unknown))
    by_recipients: dict[str, list[Sighting]] = {}
    for seen in _grouped(client.analytics(*days, filter=campaign)).values():
        by_recipients.setdefault(_digest(seen.addresses), []).append(seen)
    for doubt in unknown:
        yield doubt, by_recipients.get(doubt.recipients, [])


def _days(first: float, last: float) -> tuple[date, date]:
    """The days to ask for; one more at each end, whatever time the vendor's days go by."""
    since, until = (datetime.fromtimestamp(at, UTC) for at in (first, last))
    return (since - timedelta(days=1)).date(), (until + timedelta(days=1)).date()


def _grouped(rows: Iterable[AnalyticsRow]) -> dict[str, Sighting]:
    found: dict[str, Sighting] = {}
    for row in rows:
        found.setdefault(row.id, Sighting(row.id)).rows.append(row)
    return found


def _digest(addresses: Iterable[str]) -> str:
    return digest_of(Address(item, "") for item in addresses)


def _addresses(text: str) -> list[str]:
    try:
        return [item.email.lower() for item in parse_list(text)]
    except AddressError:
        return [text.strip().lower()]


def _outcome(item: Reconciled, at: float) -> Outcome:
    return Outcome(key=item.key, status=Status.SENT, message=item.message, time=at, posted=True, mid=item.mids[0])
