"""Results, as data: counts, failures with their filters and pages, what is in doubt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from turbobatch.console.send_state import Phase
from turbobatch.failures import Category
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from turbobatch.reconcile import Reconciled

PAGE = 12
"""Lines of a list that are shown at once."""

_AGAIN = (Status.FAILED, Status.INVALID, Status.REJECTED)
"""What a run tries again by itself; what was rejected, once the email has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One failed address."""

    row: int
    key: str
    status: str
    address: str
    field: str
    reason: str
    category: str = ""
    suggestion: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The results, as the journal tells them.

    Attributes:
        counts: rows by status.
        failures: the first of `failed` addresses.
        doubts: the first of `in_doubt` keys.
        in_use: another process seems to be sending.
        warning: that the table isn't the one that was sent.
        status, category, text: the filters; the failures on show have these, or any where it is empty.
        first: place of the first failure that is shown, among those that the filters let through.
        looking_up: whether what is in doubt is being looked up; `looked_up`: for how many that is done.
        told: what came of each that was looked up last, as far as it still holds.
        asked: what the keys in doubt are to be settled as; it wants to be confirmed.
        replaces: the path, as typed, of a file that is there already; to replace it wants to be confirmed.
        replaces_to_correct: it would be replaced by the failed addresses, not by the results.
        notice: what went wrong; `answer`: what went well.
    """

    phase: Phase = Phase.IDLE
    read: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    failures: tuple[Failure, ...] = ()
    failed: int = 0
    doubts: tuple[str, ...] = ()
    in_doubt: int = 0
    in_use: bool = False
    warning: str = ""
    status: str = ""
    category: str = ""
    text: str = ""
    first: int = 0
    looking_up: Phase = Phase.IDLE
    looked_up: int = 0
    told: tuple[Reconciled, ...] = ()
    chosen: tuple[str, ...] = ()
    asked: Status | None = None
    exporting: Phase = Phase.IDLE
    exported: int = 0
    replaces: str = ""
    replaces_to_correct: bool = False
    notice: str = ""
    answer: str = ""


def loading(now: Outcome) -> Outcome:
    """Begin to read the journal; what it told last stays until it is read."""
    return replace(now, phase=Phase.BUSY, read=0, notice="")


def loaded(old: Outcome, found: Outcome) -> Outcome:
    """Show what the journal tells; the filters stay, and what is in doubt still stays chosen."""
    known = set(found.doubts)
    are_all_listed = found.in_doubt <= len(found.doubts)
    new = replace(
        found,
        phase=Phase.DONE,
        status=old.status,
        category=old.category,
        text=old.text,
        first=old.first,
        looking_up=old.looking_up,
        looked_up=old.looked_up,
        told=tuple(item for item in old.told if item.is_settled or item.key in known or not are_all_listed),
        chosen=tuple(key for key in old.chosen if key in known),
        exporting=old.exporting,
        exported=old.exported,
        replaces=old.replaces,
        replaces_to_correct=old.replaces_to_correct,
        notice=old.notice,
        answer=old.answer,
    )
    return turned(new, 0)


def narrowed(
    now: Outcome, *, status: str | None = None, category: str | None = None, text: str | None = None
) -> Outcome:
    """Show other failures, from the first page."""
    return replace(
        now,
        status=now.status if status is None else status,
        category=now.category if category is None else category,
        text=now.text if text is None else text,
        first=0,
    )


def categories(now: Outcome) -> list[str]:
    """The categories to choose from: those that occur, and the one that is chosen."""
    there = {item.category for item in now.failures} | {now.category}
    return [str(kind) for kind in Category if kind in there]


def filtered(now: Outcome) -> list[Failure]:
    """The failures that the filters let through."""
    text = now.text.strip().casefold()
    return [
        item
        for item in now.failures
        if (not now.status or item.status == now.status)
        and (not now.category or item.category == now.category)
        and (not text or any(text in word.casefold() for word in (item.address, item.reason, item.key)))
    ]


def page_of(now: Outcome) -> list[Failure]:
    """The failures on the page that is shown."""
    return filtered(now)[now.first : now.first + PAGE]


def turned(now: Outcome, by: int) -> Outcome:
    """Turn the failures' page, as far as there are pages."""
    last = max(len(filtered(now)) - 1, 0) // PAGE * PAGE
    return replace(now, first=max(0, min(now.first + by * PAGE, last)))


def failed_count(now: Outcome) -> int:
    """Rows that were tried or made ready in vain, and that another run would look at again."""
    return sum(now.counts.get(status, 0) for status in _AGAIN)


def reading(now: Outcome, rows: int) -> Outcome:
    """Tell how many rows were read."""
    return replace(now, read=rows)


def failed(now: Outcome, notice: str) -> Outcome:
    """Tell why the journal couldn't be read or written."""
    return replace(now, phase=Phase.STOPPED if now.phase is Phase.BUSY else now.phase, notice=notice, answer="")


def run_over(now: Outcome) -> Outcome:
    """Read the journal after a run; what was looked up before it says nothing of what came of it."""
    return replace(loading(now), told=())


def looking_up(now: Outcome) -> Outcome:
    """Begin to look up what is in doubt; a question about it is taken back."""
    return replace(now, looking_up=Phase.BUSY, looked_up=0, told=(), asked=None, notice="", answer="")


def looked_for(now: Outcome, emails: int) -> Outcome:
    """Tell how many more were looked for."""
    return replace(now, looked_up=now.looked_up + emails)


def looked_up(now: Outcome, told: Sequence[Reconciled], answer: str) -> Outcome:
    """Tell what came of each, what remains in doubt first, and read the journal anew."""
    in_order = tuple(sorted(told, key=lambda item: item.is_settled))
    return replace(loading(now), looking_up=Phase.DONE, told=in_order, answer=answer)


def look_up_ended(now: Outcome, notice: str) -> Outcome:
    """Nothing was settled: it was stopped, or couldn't be done."""
    return replace(now, looking_up=Phase.STOPPED, notice=notice)


def chosen(now: Outcome, keys: tuple[str, ...]) -> Outcome:
    """Choose emails that are in doubt still; what was asked about others isn't asked about these."""
    known = set(now.doubts)
    return replace(now, chosen=tuple(key for key in keys if key in known), asked=None)


def ask(now: Outcome, status: Status | None) -> Outcome:
    """Ask whether what is chosen is to be settled as that; None asks no more."""
    if status is not None and not now.chosen:
        return replace(now, asked=None, notice="choose the emails to settle first", answer="")
    return replace(now, asked=status, notice="", answer="")


def answered(now: Outcome, answer: str) -> Outcome:
    """Tell what went well."""
    return replace(now, answer=answer, notice="")


def exporting(now: Outcome, rows: int) -> Outcome:
    """Tell how many rows were written."""
    return replace(now, exporting=Phase.BUSY, exported=rows, replaces="", answer="", notice="")


def ask_to_replace(now: Outcome, path: str, *, to_correct: bool = False) -> Outcome:
    """Ask whether a file that is there may be replaced; an empty path asks no more."""
    return replace(now, exporting=Phase.IDLE, replaces=path, replaces_to_correct=to_correct)


def exported(now: Outcome, answer: str) -> Outcome:
    """The file is written."""
    return replace(now, exporting=Phase.DONE, answer=answer)


def export_failed(now: Outcome, notice: str) -> Outcome:
    """The file isn't written."""
    return replace(now, exporting=Phase.STOPPED, notice=notice)
