"""Rows → what the engine is to do with each: post it, settle it without a POST, or leave it as the journal has it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from turbobatch.addresses import digest_of
from turbobatch.engine import Candidate
from turbobatch.errors import InvalidEmail
from turbobatch.events import Known, Settled
from turbobatch.journal import Outcome
from turbobatch.merge import Merged, Problem
from turbobatch.policy import Status
from turbobatch.units import Finder, Finding, invalid

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from turbobatch.addresses import Address
    from turbobatch.email import Email
    from turbobatch.engine import FeedItem
    from turbobatch.journal import Entry, Journal
    from turbobatch.merge import Merger
    from turbobatch.recipients import Table
    from turbobatch.sendapi import Request, SendApi
    from turbobatch.units import Batch, Layout

_TOLD = 500  # rows that are settled already and told together
_BODIES = ("text", "html", "markdown")


class Reasons(Protocol):
    """Why addresses get nothing: a dict, or a list that is too long for one."""

    def get(self, address: str, /) -> str | None:
        """The reason; None if the address may get emails."""
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """A unit's email, ready to be posted. `recipients` is a digest of the `addresses`: to, cc and bcc."""

    key: str
    digest: str
    request: Request
    recipients: str
    addresses: tuple[tuple[Address, ...], tuple[Address, ...], tuple[Address, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """What every email goes through before it may be posted: merge, suppression list, the API's size limit.

    Args:
        campaign: the campaign's name, the v2 campaign id of its emails.
        suppressed: gives the reason of an address that gets nothing, in lower case.
    """

    campaign: str
    merger: Merger
    api: SendApi
    suppressed: Reasons | None = None

    def __call__(self, finding: Finding) -> Ready | Finding:
        """Make the email ready, or find out why it can't leave."""
        unit, key = finding.unit, finding.key
        if finding.status is not None or key is None:
            return finding
        merged = finding.merged_by(self.merger)
        if merged.email is None or merged.digest is None:
            return invalid(unit, key, merged)
        if found := self._suppression(merged.email):
            field, reason = found
            return Finding(unit, key, merged, Status.SUPPRESSED, f"{unit.where}: {field}: {reason}", (reason,))
        try:
            # Labelled so that the row can be found in the vendor's analytics (v2).
            email = merged.email.labelled(reference_id=key, campaign_id=self.campaign)
            addresses = email.to, email.cc, email.bcc
            return Ready(key, merged.digest, self.api.request(email), digest_of(email.recipients), addresses)
        except InvalidEmail as error:
            return invalid(unit, key, self._unsendable(merged.email, error))

    def _unsendable(self, email: Email, error: InvalidEmail) -> Merged:
        """What merged well but can't travel through the API in use: it is too large, mostly for its attachments."""
        attached = sum(len(item.content) for item in email.attachments)
        heaviest = ("attachments", "inline") if attached > len(email.content + email.html_content) else _BODIES
        columns = self.merger.columns_behind(*heaviest)
        cure = "send less, or link to the attachments"
        return Merged(None, None, tuple(Problem(fault.field, columns, fault.text, cure) for fault in error.faults))

    def _suppression(self, email: Email) -> tuple[str, str] | None:
        """The field of the first suppressed address, and why the email gets nowhere."""
        if self.suppressed is None:
            return None
        for name, addresses in (("to", email.to), ("cc", email.cc), ("bcc", email.bcc)):
            for address in addresses:
                if (reason := self.suppressed.get(address.email.lower())) is not None:
                    return name, f"{address.email} is suppressed ({reason})"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """Everything that one run is to do with a table; iterate once for each run.

    Args:
        resend: rows in doubt are posted again.
        limit: emails to post at most.
        sent: how many rows the table has, where all of them are known to be sent; it isn't walked then.
        elsewhere: a Finder's, of a part of a table.
    """

    table: Table
    layout: Layout
    prepare: Preparation
    journal: Journal
    resend: bool = False
    limit: int | None = None
    sent: int = 0
    elsewhere: Mapping[int, tuple[int, bytes]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[FeedItem]:
        if self.sent:
            if self.table.version is not None:
                self.table.version.check()  # what was counted is what the run was started for
            yield Known(Counter({Status.SENT: self.sent}))
            return
        posts = 0
        known: Counter[Status] = Counter()  # told together: of a campaign that is run again they are nearly all
        for batch, place, entry in self._walk():
            if self.limit is not None and posts >= self.limit:
                break
            item = self._item(batch, place, entry)
            if isinstance(item, Status):
                known[item] += batch.sizes[place]
                if known.total() < _TOLD:
                    continue
            if known:
                yield Known(known)
                known = Counter()
            if not isinstance(item, Status):
                posts += isinstance(item, Candidate)
                yield item
        if known:
            yield Known(known)

    def _walk(self) -> Iterator[tuple[Batch, int, Entry | None]]:
        batches = Finder(self.layout, self.prepare.merger, elsewhere=self.elsewhere).batches(self.table)
        for batch, entries in look_up(batches, self.journal):
            for place, entry in enumerate(entries):
                yield batch, place, entry

    def _item(self, batch: Batch, place: int, entry: Entry | None) -> Candidate | Settled | Status:
        """What is to be done with a unit; the status that it has already where that is nothing."""
        if entry is not None and is_final(entry.status, resend=self.resend):
            return entry.status
        finding = batch.findings[place]
        unit = finding.unit
        ready = self.prepare(finding)
        if isinstance(ready, Finding):
            if entry is not None and entry.status is Status.IN_DOUBT:
                return entry.status  # it can't be posted now; the doubt remains
            return _settled(ready)
        if entry is not None and entry.status is Status.REJECTED and entry.digest == ready.digest:
            return entry.status  # the same email would be refused again
        resend = entry is not None and entry.status is Status.IN_DOUBT
        return Candidate(unit.number, unit.size, ready.key, ready.digest, ready.request, resend, ready.recipients)


def is_final(status: Status, *, resend: bool) -> bool:
    """Whether a run leaves a row with this status alone, whatever the table says now."""
    return status is Status.SENT or (status is Status.IN_DOUBT and not resend)


def look_up(batches: Iterable[Batch], journal: Journal) -> Iterator[tuple[Batch, list[Entry | None]]]:
    """Join units with what the journal knows of each."""
    for batch in batches:
        known = journal.lookup(key for key in batch.keys if key is not None)
        yield batch, [known.get(key) if key is not None else None for key in batch.keys]


def _settled(finding: Finding) -> Settled:
    unit, status, key = finding.unit, finding.status or Status.INVALID, finding.key
    outcome = None
    # A duplicate's key belongs to the earlier row, whose entry must stay.
    if key is not None and status is not Status.DUPLICATE:
        outcome = Outcome(
            key=key, status=status, message=finding.message, errors=finding.errors, time=time.time(), posted=False
        )
    return Settled(unit.number, unit.size, status, key, finding.message, outcome)
