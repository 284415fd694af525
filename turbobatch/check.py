"""Check: every row merged and nothing sent; one row per problem, with its cure."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, NamedTuple

from turbobatch.errors import CampaignError, JournalError
from turbobatch.policy import Status
from turbobatch.sendapi import V1, V2
from turbobatch.units import Finder, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd

    from turbobatch.feed import Preparation
    from turbobatch.journal.opening import OpenJournal
    from turbobatch.recipients import Table
    from turbobatch.sendapi import SendApi
    from turbobatch.units import Batch, Layout

_CHUNK = 1000  # rows

CHANGED = "turbobatch.changed"
"""In a check's DataFrame.attrs: how many rows were sent already and make another email now."""


class CheckedProblem(NamedTuple):
    """One row of a check; `status` is what the table's row would become (invalid, duplicate, suppressed)."""

    row: int
    where: str
    status: str
    field: str | None
    columns: str
    problem: str
    cure: str
    send_key: str | None


_CURES = {
    Status.DUPLICATE: "it won't be sent; take it out if it isn't meant",
    Status.SUPPRESSED: "it won't be sent; take the address off the list if it should be",
}


class Checked(NamedTuple):
    """What a check found in the next rows: how many it looked at, and how many were sent and make another email now."""

    rows: int
    changed: int
    problems: tuple[CheckedProblem, ...]

    def frame(self) -> pd.DataFrame:
        """The problems, with `attrs[CHANGED]`."""
        return _frame(self.problems, self.changed)


def checking(
    table: Table, layout: Layout, prepare: Preparation, open_journal: Callable[[], OpenJournal]
) -> Iterator[Checked]:
    """Make every row's email ready, and tell what keeps any from leaving, some thousand rows at a time, at least once.

    Raises:
        CampaignError: the table is malformed.
    """
    rows = changed = 0
    found: list[CheckedProblem] = []
    with ExitStack() as held:
        sent = _Sent(open_journal if layout.key else None, held)  # without a key, another email has another one
        for batch in Finder(layout, prepare.merger, merged_at_once=1).batches(table):
            digests = sent.digests(batch)
            for finding in batch.findings:
                ready = prepare(finding)
                rows += finding.unit.size
                if isinstance(ready, Finding):
                    found += _problems(ready, layout)
                elif digests.get(ready.key, ready.digest) != ready.digest:
                    changed += finding.unit.size
                if rows >= _CHUNK:
                    yield Checked(rows, changed, tuple(found))
                    rows, changed, found = 0, 0, []
    yield Checked(rows, changed, tuple(found))


def whole(found: Iterable[Checked]) -> pd.DataFrame:
    """All that a check finds, in one frame."""
    problems: list[CheckedProblem] = []
    changed = 0
    for part in found:
        problems += part.problems
        changed += part.changed
    return _frame(problems, changed)


def _frame(problems: Sequence[CheckedProblem], changed: int) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(problems, columns=list(CheckedProblem._fields)).astype({"row": "int64"})  # also without any
    frame.attrs[CHANGED] = changed
    return frame


class _Sent:
    """The digests of what was sent, as a copy of the journal tells them; none where it can't be read.

    A run in progress may hold it, or `send` will say what is wrong with it.
    """

    def __init__(self, open_journal: Callable[[], OpenJournal] | None, held: ExitStack) -> None:
        self._journal: OpenJournal | None = None
        if open_journal is not None:
            with suppress(JournalError):
                self._journal = opened = open_journal()
                held.callback(opened.close)

    def digests(self, batch: Batch) -> dict[str, str]:
        """Of the batch's units that are sent, by key."""
        if self._journal is None:
            return {}
        try:
            entries = self._journal.lookup(key for key in batch.keys if key is not None)
        except JournalError:
            self._journal = None
            return {}
        return {key: entry.digest for key, entry in entries.items() if entry.status is Status.SENT and entry.digest}


def any_account(api: str) -> SendApi:
    """The API as data with nobody's credentials, to build requests with that are only looked at.

    Raises:
        CampaignError: there is no such API.
    """
    nowhere = "https://localhost"
    match api:
        case "v1":
            return V1(nowhere, "nobody", "nothing")
        case "v2":
            return V2(nowhere, "nobody", "nothing")
    raise CampaignError(f'there is no API {api!r}: use "v1" or "v2"')


def _problems(finding: Finding, layout: Layout) -> Iterator[CheckedProblem]:
    unit, status, key = finding.unit, finding.status or Status.INVALID, finding.key
    if finding.merged is not None and finding.merged.problems:
        for item in finding.merged.problems:
            columns = ", ".join(item.columns)
            yield CheckedProblem(unit.number, unit.where, status, item.field, columns, item.error, item.cure, key)
        return
    problem = finding.errors[0] if finding.errors else finding.message.removeprefix(f"{unit.where}: ")
    columns = ", ".join(layout.key or layout.group_by) if status is Status.INVALID else ""
    cure = _CURES.get(status) or finding.message.rpartition("; ")[2]
    yield CheckedProblem(unit.number, unit.where, status, None, columns, problem, cure, key)
