"""Check: every row merged and nothing sent; one row per problem, with its cure."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext, suppress
from typing import TYPE_CHECKING, NamedTuple

from turbobatch.errors import CampaignError, JournalError
from turbobatch.policy import Status
from turbobatch.sendapi import V1, V2
from turbobatch.units import Finder, Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    import pandas as pd

    from turbobatch.feed import Preparation, Ready
    from turbobatch.journal.opening import OpenJournal
    from turbobatch.recipients import Table
    from turbobatch.sendapi import SendApi
    from turbobatch.units import Batch, Layout, Unit

_CHUNK = 1000  # rows

VALIDATED = "turbobatch.validated"
"""In a check's DataFrame.attrs: how many addresses the vendor has judged to be what, where it was asked."""

CHANGED = "turbobatch.changed"
"""In a check's DataFrame.attrs: how many rows were sent already and make another email now."""


class CheckedProblem(NamedTuple):
    """One row of a check.

    `status` is what the table's row would become (invalid, duplicate, suppressed), or `warning`: it is sent all the
    same.
    """

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
    """What a check found in the next rows: how many it looked at, and how many were sent and make another email now.

    `judged`: how many addresses the vendor has judged to be what; in the last part, where it was asked.
    """

    rows: int
    changed: int
    problems: tuple[CheckedProblem, ...]
    judged: Mapping[str, int] | None = None

    def frame(self) -> pd.DataFrame:
        """The problems, with `attrs[CHANGED]`."""
        return _frame(self.problems, self.changed, self.judged)


def checking(
    table: Table,
    layout: Layout,
    prepare: Preparation,
    open_journal: Callable[[], OpenJournal],
    on_ready: Callable[[Unit, Ready], object] | None = None,
) -> Iterator[Checked]:
    """Make every row's email ready, and tell what keeps any from leaving, some thousand rows at a time, at least once.

    `on_ready` gets what can be sent and isn't yet; the journal that tells has to be readable then.

    Raises:
        CampaignError: the table is malformed.
        JournalError: the journal can't be read.
    """
    rows = changed = 0
    found: list[CheckedProblem] = []
    with ExitStack() as held:
        # Without a key another email has another one: the journal knows of no change.
        sent = _Sent(open_journal if layout.key or on_ready else None, held, is_needed=on_ready is not None)
        for batch in Finder(layout, prepare.merger, merged_at_once=1).batches(table):
            digests = sent.digests(batch)
            for finding in batch.findings:
                ready = prepare(finding)
                rows += finding.unit.size
                if isinstance(ready, Finding):
                    found += _problems(ready, layout)
                elif ready.key in digests:
                    changed += finding.unit.size if digests[ready.key] != ready.digest else 0
                elif on_ready is not None:
                    on_ready(finding.unit, ready)
                if rows >= _CHUNK:
                    yield Checked(rows, changed, tuple(found))
                    rows, changed, found = 0, 0, []
    yield Checked(rows, changed, tuple(found))


def whole(found: Iterable[Checked]) -> pd.DataFrame:
    """All that a check finds, in one frame."""
    problems: list[CheckedProblem] = []
    changed = 0
    judged = None
    for part in found:
        problems += part.problems
        changed += part.changed
        judged = part.judged
    return _frame(problems, changed, judged)


def _frame(problems: Sequence[CheckedProblem], changed: int, judged: Mapping[str, int] | None) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(problems, columns=list(CheckedProblem._fields)).astype({"row": "int64"})  # also without any
    frame.attrs[CHANGED] = changed
    if judged is not None:
        frame.attrs[VALIDATED] = dict(judged)
    return frame


class _Sent:
    """The digests of what was sent, as a copy of the journal tells them.

    None where it can't be read, unless that `is_needed`: a run in progress may hold it, or `send` will say what is
    wrong with it.
    """

    def __init__(self, open_journal: Callable[[], OpenJournal] | None, held: ExitStack, *, is_needed: bool) -> None:
        self._journal: OpenJournal | None = None
        self._is_needed = is_needed
        if open_journal is not None:
            with nullcontext() if is_needed else suppress(JournalError):
                self._journal = opened = open_journal()
                held.callback(opened.close)

    def digests(self, batch: Batch) -> dict[str, str]:
        """Of the batch's units that are sent, by key."""
        if self._journal is None:
            return {}
        try:
            entries = self._journal.lookup(key for key in batch.keys if key is not None)
        except JournalError:
            if self._is_needed:
                raise
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
