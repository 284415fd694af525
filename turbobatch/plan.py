"""Plan: what a run would do, counted over the whole table before anything is sent, and what speaks against it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turbobatch.addresses import digest_of
from turbobatch.feed import is_final, look_up
from turbobatch.policy import Status
from turbobatch.recipients.audited import AuditedTable
from turbobatch.spill import Spill
from turbobatch.units import Finder, units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from turbobatch.journal import Entry, Journal, Place
    from turbobatch.merge import Merger
    from turbobatch.recipients import Table
    from turbobatch.units import Batch, Layout, Unit

_LASTING = (Status.SENT, Status.IN_DOUBT)  # what the journal remembers of an email whatever becomes of its row
_TICK = 2000  # rows from one sign of life to the next
_SAMPLE = 100  # emails that are merged at most to see whether their very content has left
_USUAL_WITH_KEY = "as after a change of the key column, or where a spreadsheet has rewritten the keys"
_USUAL_WITHOUT_KEY = "without a key column, a changed template or cell makes a new email of each row that was sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a run would do, and why it had better not.

    Attributes:
        rows: of the table.
        emails: to post at most; rows that turn out invalid or suppressed are among them.
        known: rows that are settled already.
        table: as it was counted; a run that is given this one refuses a file that was changed since.
        elsewhere: emails of this campaign, sent or in doubt, whose keys the table doesn't have.
        warnings: what the user should know before anything is sent.
        objection: why emails would likely arrive a second time; they leave only with a consent of its own.
        sample: contents (digests) by key of the first emails that no journal entry is known of.
        sent: emails of the table that are sent.
        refused: of `emails`, those that the API has rejected: they are posted only if they have changed since.
        layout: which of the table's columns made the keys and groups.
        journal: the journal that was asked, and the campaign's name in it.
    """

    rows: int
    emails: int
    sent: int
    layout: Layout
    known: dict[Status, int]
    elsewhere: int
    table: Table
    sender: str
    warnings: tuple[str, ...] = ()
    objection: str = ""
    sample: Mapping[str, str] = field(default_factory=dict, repr=False)
    journal: tuple[Place, str] | None = None
    refused: int = 0

    def is_done_by(self, journal: Journal) -> bool:
        """Whether every row is sent, which nothing changes any more: a run of this table has nothing to look for.

        The journal is asked again: the file may have been moved away since, and another one begun.
        """
        return self.known.get(Status.SENT, 0) == self.rows and journal.counts().get(Status.SENT, 0) >= self.sent


def make_plan(
    table: Table,
    layout: Layout,
    merger: Merger,
    journal: Journal,
    *,
    resend: bool,
    sender: str,
    tick: Callable[[int], object],
) -> Plan:
    """Walk the whole table, so that what is wrong with it shows before anything is sent; twice where keys have gone.

    `tick` is called now and then with the number of rows that were read since.

    Raises:
        CampaignError: the table or a template can't be used.
        JournalError: the journal can't be used.
    """
    finder, walk = Finder(layout, merger), Walk(resend)
    for batch, entries in look_up(finder.batches(table), journal):
        walk.take(batch, entries)
        tick(sum(batch.sizes))
    found = walk.counts
    elsewhere = elsewhere_of(journal, found)
    objection = warning = ""
    # The keys of an audit that was given back are known to be the same, and most of its campaign isn't in it.
    if elsewhere and found.emails and not isinstance(table, AuditedTable):
        new = filter(walk.is_new, _ticking(units(table, layout), tick))  # once more, for the addresses alone
        again = _again(new, layout, merger, _gone(finder, journal, tick))
        said = f"{_have_left(elsewhere)}{again.told(found.emails)}"
        if again.is_likely(min(elsewhere, found.emails)):
            objection = f"{said}: {_USUAL_WITH_KEY if layout.key else _USUAL_WITHOUT_KEY}"
        elif layout.key:
            warning = f"{said}; make sure that the keys haven't changed"
        elif again.count:
            warning = f"{said}; make sure that no template or cell has changed"
    return Plan(
        rows=found.rows,
        emails=found.emails,
        sent=found.sent,
        refused=found.refused,
        layout=layout,
        known=dict(found.known),
        elsewhere=elsewhere,
        table=table,
        sender=sender,
        warnings=(warning,) if warning else (),
        objection=objection,
        sample=walk.sampled(layout, merger),
    )


def elsewhere_of(journal: Journal, counts: Counts) -> int:
    """How many emails are sent or in doubt under keys that the table doesn't have."""
    known = journal.counts()
    return sum(known.get(status, 0) for status in _LASTING) - counts.found


def _ticking(found: Iterator[Unit], tick: Callable[[int], object]) -> Iterator[Unit]:
    rows = 0
    for unit in found:
        rows += unit.size
        if rows >= _TICK:
            tick(rows)
            rows = 0
        yield unit


@dataclass(slots=True)
class Counts:
    """What a plan counts, of a table or a part of one."""

    rows: int = 0
    emails: int = 0
    found: int = 0  # units that are sent or in doubt
    sent: int = 0
    refused: int = 0
    known: Counter[Status] = field(default_factory=Counter)

    def count(self, status: Status | None, size: int, *, resend: bool, by: int = 1) -> None:
        """Count a unit of so many rows with what the journal knows of it, if anything; or take it back, `by` -1."""
        self.found += by * (status in _LASTING)
        self.sent += by * (status is Status.SENT)
        if status is not None and is_final(status, resend=resend):
            self.known[status] += by * size
        else:
            self.emails += by
            self.refused += by * (status is Status.REJECTED)

    def add(self, other: Counts) -> None:
        """Count what another part has."""
        for name in ("rows", "emails", "found", "sent", "refused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.known.update(other.known)


@dataclass(slots=True)
class Walk:
    """What is counted on the way through the table, and which of its units no journal entry is known of."""

    resend: bool
    counts: Counts = field(default_factory=Counts)
    sample: dict[str, Unit] = field(default_factory=dict)
    _new: bytearray = field(default_factory=bytearray)  # by the unit's first row

    def take(self, batch: Batch, entries: Sequence[Entry | None]) -> None:
        """Count the next units."""
        counts = self.counts
        counts.rows += sum(batch.sizes)
        for place, (key, size, entry) in enumerate(zip(batch.keys, batch.sizes, entries, strict=True)):
            if key is None:
                continue
            counts.count(entry.status if entry is not None else None, size, resend=self.resend)
            if entry is None:
                self._note(key, batch.findings[place].unit)

    def _note(self, key: str, unit: Unit) -> None:
        self._new += bytes(max(unit.number + 1 - len(self._new), 0))
        self._new[unit.number] = True
        if len(self.sample) < _SAMPLE:
            self.sample[key] = unit

    def sampled(self, layout: Layout, merger: Merger) -> dict[str, str]:
        """The contents (digests) of the first new emails, by key."""
        if not layout.key:
            return {key: key for key in self.sample}
        merged = {key: merger.merge(unit.values, unit.rows).digest for key, unit in self.sample.items()}
        return {key: digest for key, digest in merged.items() if digest is not None}

    def is_new(self, unit: Unit) -> bool:
        """Whether the unit makes an email that no journal entry is known of."""
        return any(self._new[unit.number : unit.number + 1])


@dataclass(frozen=True, slots=True)
class _Gone:
    """What has left, or may have, under keys that the table doesn't have: the keys."""

    by_recipients: Spill[str] = field(default_factory=Spill)
    by_content: Spill[str] = field(default_factory=Spill)


@dataclass(slots=True)
class _Again:
    """How many emails to post go to the very recipients of one that has gone, and a pair of keys as an example."""

    count: int = 0
    key: str = ""
    gone: str = ""
    is_same: bool = False  # the pair's content, word for word

    def is_likely(self, most: int) -> bool:
        """Whether a table was changed, rather than known customers have ordered anew. `most`: as many as it can be.

        A static text is the same for each order of a customer: the same content alone is no sign of trouble.
        """
        return 2 * self.count >= most and (self.count > 1 or self.is_same)

    def told(self, emails: int) -> str:
        """Say it, after what has left."""
        if not self.count:
            return ""
        word_for_word = ", word for word the same" if self.is_same else ""
        return (
            f", and {self.count} of the {emails} to be sent {'goes' if self.count == 1 else 'go'} to the very "
            f"recipients of such emails (key {self.key!r} and key {self.gone!r}{word_for_word})"
        )


def _gone(finder: Finder, journal: Journal, tick: Callable[[int], object]) -> _Gone:
    gone = _Gone()
    for status in _LASTING:
        for number, entry in enumerate(journal.entries(status)):
            if number % _TICK == 0:
                tick(0)
            if entry.recipients and entry.digest and not finder.has(entry.key):
                gone.by_recipients[entry.recipients] = gone.by_content[entry.digest] = entry.key
    return gone


def _again(new: Iterator[Unit], layout: Layout, merger: Merger, gone: _Gone) -> _Again:
    again = _Again()
    for unit in new:
        addresses = merger.recipients(unit.values, unit.rows)
        before = gone.by_recipients.get(digest_of(addresses), "") if addresses else ""
        if not before:
            continue
        again.count += 1
        if again.is_same or again.count > (_SAMPLE if layout.key else 1):
            continue
        digest = merger.merge(unit.values, unit.rows).digest or ""
        same = gone.by_content.get(digest, "")
        if same or again.count == 1:
            again.key = (layout.key_of(unit.values) if layout.key else digest) or ""
            again.gone, again.is_same = same or before, bool(same)
    return again


def _have_left(elsewhere: int) -> str:
    what = "1 email of this campaign has" if elsewhere == 1 else f"{elsewhere} emails of this campaign have"
    return f"{what} left under keys that this table doesn't have"
