"""What the commands print of results (counts and failures), as plain text."""

from __future__ import annotations

import os
import traceback
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from turbobatch.addresses import CONTROL
from turbobatch.delivery import Delivery
from turbobatch.failures import AS_MEANT, Category
from turbobatch.policy import MEANINGS, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from turbobatch.check import Checked, CheckedProblem
    from turbobatch.delivery import Deliveries
    from turbobatch.reconcile import Reconciled
    from turbobatch.validation import Need

CORRECTED = "failed.csv"
MENDED = "mended.csv"
"""The failed addresses that are corrected, and the report of sending them, which mustn't replace the whole one."""

_SHOWN = 20  # failed addresses, or keys, a terminal shows before it names the rest's number

IN_PROGRESS = "A run seems to be in progress: rows in doubt may just be waiting for their answers."


def counts_text(statuses: Iterable[str] | Mapping[str, int]) -> str:
    """One line per status that occurs: how many rows, and what it means."""
    counts = Counter(statuses)
    lines = [f"{counts[status]:>9,} {status:<11}{meaning}" for status, meaning in MEANINGS.items() if counts[status]]
    return "\n".join([*lines, f"{sum(counts.values()):>9,} rows"]) + "\n"


def refused_text(count: int) -> str:
    """What to say after the number of emails to send where so many of them were rejected; nothing where none was."""
    verb = "was" if count == 1 else "were"
    return f"; {count:,} {verb} refused before: sent again only if the email has changed" if count else ""


@dataclass(slots=True)
class Failures:
    """A table's failed addresses, counted chunk by chunk; only those that are shown are kept."""

    kinds: Counter[str] = field(default_factory=Counter)  # by category
    statuses: Counter[str] = field(default_factory=Counter)  # what became of their rows
    _lines: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """How many ask for something to be done."""
        return self.kinds.total() - sum(self.kinds[kind] for kind in AS_MEANT)

    def add(self, found: pd.DataFrame) -> None:
        """Count an audit's rows."""
        self.kinds.update(found["category"].tolist())
        self.statuses.update(found["status"].tolist())
        shown = found[~found["category"].isin(list(AS_MEANT))].head(_SHOWN - len(self._lines))
        for item in shown.itertuples(index=False):
            # Without an address, by what tells the email apart and what `resolve --key` takes.
            key = f"key {item.send_key}" if isinstance(item.send_key, str) else "-"
            address = item.address if isinstance(item.address, str) else key
            guess = f" (did you mean {item.suggestion}?)" if isinstance(item.suggestion, str) else ""
            # A cell's text, or the API's, mustn't steer the terminal.
            kind = str(item.category if item.status == Status.SENT else item.status)  # it left, and came to nothing
            line = f"  row {item.row:<5} {kind:<9} {address}  {item.reason}{guess}"
            self._lines.append(CONTROL.sub(" ", line))

    def merge(self, other: Failures) -> None:
        """Count what the next part of the table has."""
        self.kinds.update(other.kinds)
        self.statuses.update(other.statuses)
        self._lines += other._lines[: _SHOWN - len(self._lines)]

    def text(self) -> str:
        """How many of each kind, then one line per failed address, the first ones."""
        asking = self._told(kind for kind in Category if kind not in AS_MEANT)
        lines = [f"Failed addresses ({self.count:,}): {asking}" if asking else "No address failed.", *self._lines]
        if self.count > _SHOWN:
            lines.append(f"  … and {self.count - _SHOWN:,} more: turbobatch audit writes them all")
        if as_meant := self._told(kind for kind in Category if kind in AS_MEANT):
            lines.append(f"Not sent, as meant: {as_meant}")
        return "\n".join(lines) + "\n"

    def written_text(self, output: Path) -> str:
        """What is in a file that holds them all."""
        as_meant = self._told(kind for kind in Category if kind in AS_MEANT)
        return f"{self.count:,} failed addresses{f' ({as_meant} besides)' if as_meant else ''}, written to {output}"

    def _told(self, kinds: Iterable[Category]) -> str:
        return ", ".join(f"{self.kinds[kind]:,} {kind}" for kind in kinds if self.kinds[kind])


def failures_text(failures: pd.DataFrame) -> str:
    """The same of a whole audit."""
    counted = Failures()
    counted.add(failures)
    return counted.text()


def correcting_text(failures: Failures, output: Path | None, send: str) -> str:
    """How an audit goes on, in its file or in one that is still to be written; nothing of a page, which is for people.

    `send` is the command for what can be sent again. What the rest takes is said too.
    """
    if output is not None and output.suffix.lower() == ".html":
        return ""
    lines = []
    left, in_doubt = failures.statuses[Status.SENT], failures.statuses[Status.IN_DOUBT]
    if (again := failures.count - left - in_doubt) > 0:
        some = f"{again:,} of the {failures.count:,} can be sent again. " if left or in_doubt else ""
        write = "" if output is not None else f"Write them into a file with -o {CORRECTED}. "
        lines.append(
            f"{some}{write}Correct the table's own columns in it, not `address`; then this sends what was corrected, "
            f"and nothing twice:\n  {send}"
        )
    if in_doubt:
        lines.append(f"{in_doubt:,} in doubt: not sent again before settled, by `turbobatch reconcile` or `resolve`.")
    if left:
        have, them = ("has", "it") if left == 1 else ("have", "them")
        lines.append(
            f"{left:,} {have} left: to send {them} again takes another campaign name, and a table without the audit's "
            "own columns."
        )
    return "\n".join(lines)


@dataclass(slots=True)
class Problems:
    """What a check finds, counted part by part and never held whole."""

    count: int = 0
    invalid: int = 0  # rows that can't be sent
    changed: int = 0  # rows that were sent already and make another email now
    judged: Mapping[str, int] | None = None  # addresses, by the vendor's judgement

    def counted(self, parts: Iterable[Checked]) -> Iterator[Checked]:
        """Count what passes."""
        for part in parts:
            self.count += len(part.problems)
            self.invalid += len({item.row for item in part.problems if item.status == Status.INVALID})
            self.changed += part.changed
            self.judged = part.judged
            yield part

    def text(self) -> str:
        """What a check says last."""
        changed = ""
        if self.changed:
            is_one = self.changed == 1
            said = "row was sent already and makes" if is_one else "rows were sent already and make"
            changed = f"{self.changed} {said} another email now: {'it stays' if is_one else 'they stay'} sent\n"
        rows = "1 row" if self.invalid == 1 else f"{self.invalid} rows"
        said = f"{rows} can't be sent" if self.invalid else "Every row can be sent."
        return "".join((changed, judged_text(self.judged), said))


def judged_text(judged: Mapping[str, int] | None) -> str:
    """A line on what the vendor has judged addresses to be; nothing where it wasn't asked."""
    if judged is None:
        return ""
    counts = ", ".join(f"{count:,} {status}" for status, count in judged.items())
    return f"Addresses that the vendor has judged: {counts or 'none'}\n"


def need_text(need: Need) -> str:
    """What a validation costs."""
    known = f"; {need.known:,} are judged already" if need.known else ""
    many = f"{need.new:,} addresses, {need.new:,} credits" if need.new > 1 else "1 address, 1 credit"
    return f"The vendor is asked to judge {many}{known}."


def problems_text(problems: Iterable[CheckedProblem]) -> str:
    """One line per problem that a check found: where, what, and the cure."""
    return "\n".join(f"{item.where}: {_place(item)}{item.problem}; {item.cure}" for item in problems)


def _place(problem: CheckedProblem) -> str:
    """Which column a problem is in, else which field, where the problem itself doesn't say."""
    if problem.columns:
        return "" if problem.problem.startswith("column") else f"column {problem.columns}: "
    return f"{problem.field}: " if problem.field else ""


def unexpected_text(error: BaseException) -> str:
    """What to say of an error that nobody has thought of; its traceback goes before it where TURBOBATCH_DEBUG is set.

    Only its kind and place: its text may hold anything, a row's cells for instance.
    """
    if os.environ.get("TURBOBATCH_DEBUG"):
        traceback.print_exception(error)
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if "turbobatch" in Path(frame.filename).parts]
    place = f" in {Path(own[-1].filename).name}, line {own[-1].lineno}" if own else ""
    return (
        f"unexpected {type(error).__name__}{place}: please report it, with what TURBOBATCH_DEBUG=1 shows; "
        "the journal knows what was sent, and the same command goes on"
    )


def resending_text(emails: int) -> str:
    """What it means to settle so many emails in doubt as pending."""
    it, they, post = ("email", "it", "it") if emails == 1 else ("emails", "they", "them")
    return f"{emails} {it} may have been accepted: the next send posts {post} again, and {they} may arrive twice."


def reconciled_text(told: Sequence[Reconciled], resolve: str) -> str:
    """What became of each email in doubt, and what to do about those that remain: the command that settles by hand."""
    if not told:
        return "No email is in doubt.\n"
    settled = sum(item.is_settled for item in told)
    lines = [f"{len(told)} in doubt, {settled} of them found and settled as sent:"]
    for item in told:
        mids = f" (mid {', '.join(item.mids)})" if item.mids else ""
        lines.append(CONTROL.sub(" ", f"  {item.trace:<9} key {item.key}  {item.message}{mids}"))
    if settled < len(told):
        lines.append(
            "What wasn't found may have been accepted all the same. It stays in doubt, and is yours to settle:\n"
            f"  {resolve} --as sent|pending [--key KEY]   (pending: it is sent again)"
        )
    return "\n".join(lines) + "\n"


def deliveries_text(deliveries: Deliveries) -> str:
    """One line per delivery status: how many of the sent rows."""
    counts = deliveries.counts
    known = [status for status in map(str, Delivery) if counts[status]]
    lines = [f"{counts[word]:>9,} {CONTROL.sub(' ', word)}" for word in [*known, *sorted(counts.keys() - set(known))]]
    if deliveries.unknown:
        lines.append(f"{deliveries.unknown:>9,} sent, but not in the analytics (v1 gives no message id to look for)")
    return "\n".join(["Deliveries, by row:", *lines]) + "\n" if lines else "No row is sent.\n"


def doubts_text(keys: Sequence[str]) -> str:
    """One line that names the emails in doubt whose rows aren't in the table, the first ones."""
    named = ", ".join(CONTROL.sub(" ", key) for key in keys[:_SHOWN])
    more = f" … and {len(keys) - _SHOWN} more" if len(keys) > _SHOWN else ""
    return f"In doubt, though not in this table ({len(keys)}), by key: {named}{more}"
