"""Check: every row merged and nothing sent; one row per problem, with its cure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from turbobatch.errors import CampaignError, JournalError
from turbobatch.policy import Status
from turbobatch.sendapi import V1, V2
from turbobatch.spill import Spill
from turbobatch.units import Finding, find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    import pandas as pd

    from turbobatch.feed import Preparation
    from turbobatch.journal import SqliteJournal
    from turbobatch.recipients import Table
    from turbobatch.sendapi import SendApi
    from turbobatch.units import Layout

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
    table: Table, layout: Layout, prepare: Preparation, open_journal: Callable[[], SqliteJournal]
) -> Iterator[Checked]:
    """Make every row's email ready, and tell what keeps any from leaving, some thousand rows at a time, at least once.

    Raises:
        CampaignError: the table is malformed.
    """
    rows = changed = 0
    found: list[CheckedProblem] = []
    sent = _sent(open_journal) if layout.key else Spill[str]()  # without a key, another email has another one
    for finding in find(table, layout, prepare.merger):
        ready = prepare(finding)
        rows += finding.unit.size
        if isinstance(ready, Finding):
            found += _problems(ready, layout)
        elif sent.get(ready.key, ready.digest) != ready.digest:
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

    frame = pd.DataFrame(problems, columns=list(CheckedProblem._fields))
    frame.attrs[CHANGED] = changed
    return frame


def _sent(open_journal: Callable[[], SqliteJournal]) -> Spill[str]:
    """The digests of what was sent, by key; the journal isn't held for as long as a check takes."""
    digests = Spill[str]()
    try:
        with open_journal() as journal:
            for entry in journal.entries(Status.SENT):
                if entry.digest is not None:
                    digests[entry.key] = entry.digest
    except JournalError:
        return Spill[str]()  # a run in progress holds it, or `send` will say what is wrong with it
    return digests


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
