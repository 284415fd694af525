"""Results, as data: counts, failures with their filters and pages, what is in doubt."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from turbobatch.console.send_state import Phase
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

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
        first: place of the first failure that is shown, among those that the filters let through.
        asked: what the keys in doubt are to be settled as; it wants to be confirmed.
        replaces: the path, as typed, of a file that is there already; to replace it wants to be confirmed.
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
    text: str = ""
    first: int = 0
    chosen: tuple[str, ...] = ()
    asked: Status | None = None
    exporting: Phase = Phase.IDLE
    exported: int = 0
    replaces: str = ""
    notice: str = ""
    answer: str = ""


def loading(now: Outcome) -> Outcome:
    """Begin to read the journal; what it told last stays until it is read."""
    return replace(now, phase=Phase.BUSY, read=0, notice="")


def loaded(old: Outcome, found: Outcome) -> Outcome:
    """Show what the journal tells; the filters stay, and what is in doubt still stays chosen."""
    known = set(found.doubts)
    new = replace(
        found,
        phase=Phase.DONE,
        status=old.status,
        text=old.text,
        first=old.first,
        chosen=tuple(key for key in old.chosen if key in known),
        exporting=old.exporting,
        exported=old.exported,
        replaces=old.replaces,
        notice=old.notice,
        answer=old.answer,
    )
    return turned(new, 0)


def narrowed(now: Outcome, *, status: str | None = None, text: str | None = None) -> Outcome:
    """Show other failures, from the first page."""
    status, text = now.status if status is None else status, now.text if text is None else text
    return replace(now, status=status, text=text, first=0)


def filtered(now: Outcome) -> list[Failure]:
    """The failures that the filters let through."""
    text = now.text.strip().casefold()
    return [
        item
        for item in now.failures
        if (not now.status or item.status == now.status)
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


def ask_to_replace(now: Outcome, path: str) -> Outcome:
    """Ask whether a file that is there may be replaced; an empty path asks no more."""
    return replace(now, exporting=Phase.IDLE, replaces=path)


def exported(now: Outcome, answer: str) -> Outcome:
    """The file is written."""
    return replace(now, exporting=Phase.DONE, answer=answer)


def export_failed(now: Outcome, notice: str) -> Outcome:
    """The file isn't written."""
    return replace(now, exporting=Phase.STOPPED, notice=notice)
