"""Plan: what a run would do, counted over the whole table before anything is sent, and what speaks against it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turbobatch.feed import is_final, look_up
from turbobatch.policy import Status
from turbobatch.units import find

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from turbobatch.journal import Journal
    from turbobatch.merge import Merger
    from turbobatch.recipients import Table
    from turbobatch.units import Layout, Unit

_LASTING = (Status.SENT, Status.IN_DOUBT)  # what the journal remembers of an email whatever becomes of its row
_TICK = 2000  # rows from one sign of life to the next
_SAMPLE = 100  # emails to post that are merged to see whether they have left under another key


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
    """

    rows: int
    emails: int
    known: dict[Status, int]
    elsewhere: int
    table: Table
    sender: str
    warnings: tuple[str, ...] = ()
    objection: str = ""
    sample: Mapping[str, str] = field(default_factory=dict, repr=False)


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
    """Walk the whole table, so that what is wrong with it shows before anything is sent.

    `tick` is called now and then with the number of rows that were read since.

    Raises:
        CampaignError: the table or a template can't be used.
        JournalError: the journal can't be used.
    """
    rows = told = emails = found = 0
    known: Counter[Status] = Counter()
    new: dict[str, Unit] = {}
    for finding, entry in look_up(find(table, layout, merger), layout, journal):
        rows += finding.unit.size
        if rows - told >= _TICK:
            tick(rows - told)
            told = rows
        found += entry is not None and entry.status in _LASTING
        if entry is not None and is_final(entry, resend=resend):
            known[entry.status] += finding.unit.size
        elif finding.status is None:
            emails += 1
            if entry is None and finding.key is not None and len(new) < _SAMPLE:
                new[finding.key] = finding.unit
    counts = journal.counts()
    elsewhere = sum(counts.get(status, 0) for status in _LASTING) - found
    sample = _digests(new, layout, merger)
    objection = warning = ""
    if elsewhere and emails:
        objection = _objection(elsewhere, emails, layout, sample, journal)
        warning = "" if objection else _have_left(elsewhere) + "; make sure that its key hasn't changed"
    return Plan(
        rows=rows,
        emails=emails,
        known=dict(known),
        elsewhere=elsewhere,
        table=table,
        sender=sender,
        warnings=(warning,) if warning else (),
        objection=objection,
        sample=sample,
    )


def _digests(new: Mapping[str, Unit], layout: Layout, merger: Merger) -> dict[str, str]:
    if not layout.key:
        return {key: key for key in new}
    merged = {key: merger.merge(unit.values, unit.rows).digest for key, unit in new.items()}
    return {key: digest for key, digest in merged.items() if digest is not None}


def _objection(elsewhere: int, emails: int, layout: Layout, sample: Mapping[str, str], journal: Journal) -> str:
    if not layout.key:
        return (
            f"{_have_left(elsewhere)}, and {emails} are to be sent: without a key column, a changed template or cell "
            "makes a new email of each row that was sent"
        )
    # New rows have new keys, and old rows go: that alone is no sign of trouble. The same content under a new key is.
    keys = {digest: key for key, digest in sample.items()}
    for status in _LASTING:
        for entry in journal.entries(status):
            if entry.digest in keys:
                return (
                    f"{_have_left(elsewhere)}, and {emails} are to be sent: the email with key "
                    f"{keys[entry.digest]!r} is, word for word, the one with key {entry.key!r} ({entry.status}), "
                    "as after a change of the key column"
                )
    return ""


def _have_left(elsewhere: int) -> str:
    what = "1 email of this campaign has" if elsewhere == 1 else f"{elsewhere} emails of this campaign have"
    return f"{what} left under keys that this table doesn't have"
