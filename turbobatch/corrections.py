"""A corrected audit against the journal: whether its keys are still the ones that were sent under.

What an audit lists may have left all the same (an email that bounced, a row in doubt), so a key that a spreadsheet has
rewritten could send it again. The journal knows every key that an audit of this campaign can have.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError
from turbobatch.policy import Status
from turbobatch.units import key_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from turbobatch.journal import Entry
    from turbobatch.journal.opening import OpenJournal
    from turbobatch.recipients.audited import AuditedTable
    from turbobatch.units import Layout, Source

_AT_ONCE = 5000  # keys
_LEFT = (Status.SENT, Status.IN_DOUBT)
_WRITTEN = re.compile(r"(\d{4}-\d\d-\d\d) 00:00:00|(-?\d+)\.0")  # a day, or a whole number, in a column of others
_REWRITTEN = "as where a spreadsheet rewrites numbers: format the column as text and put the key back"
_ELSEWHERE = "to send it with another campaign, delete the audit's own columns"

_Keys = list[str | None]


def checked_corrections(source: Source, table: AuditedTable, open_journal: Callable[[], OpenJournal]) -> Source:
    """The source of an audit that was given back, without the rows that could leave twice, and with what to say of it.

    Raises:
        CampaignError: a key isn't what it was, or only a part of a group was corrected.
        JournalError: the journal can't be read.
    """
    keys = [key_text(key) or None for key in table.keys]
    with open_journal() as journal:
        known = _entries(journal, [key for key in keys if key is not None])
    _check_known(table, keys, known)
    if source.layout.key:
        table = table.with_cells(_restored(table, source.layout, keys))
        _check_groups(table, source.layout, keys)
        held: set[int] = set()
        pairs = zip(keys, table.statuses, strict=True)
        left = sum(status == Status.SENT and key in known and known[key].status is Status.SENT for key, status in pairs)
    else:
        held = _changed_since(source, table, keys, known)
        left = len(held)
    if left:
        have = (
            "1 row has left, or may have, and isn't"
            if left == 1
            else f"{left:,} rows have left, or may have, and aren't"
        )
        table = table.warned(f"{table.name}: {have} sent again, corrected or not; {_ELSEWHERE}")
    return source._replace(table=table.without(held) if held else table)


def _entries(journal: OpenJournal, keys: Sequence[str]) -> dict[str | None, Entry]:
    known: dict[str | None, Entry] = {}
    for start in range(0, len(keys), _AT_ONCE):
        known.update(journal.lookup(keys[start : start + _AT_ONCE]))
    return known


def _check_known(table: AuditedTable, keys: _Keys, known: Mapping[str | None, Entry]) -> None:
    """A row without a key had none when it was looked at, so nothing can have left under it."""
    for row, key in enumerate(keys):
        if key is not None and key not in known:
            raise CampaignError(
                f"{_where(table, row)}: this campaign knows no key {key!r}, which column 'send_key' names, "
                f"{_REWRITTEN}; {_ELSEWHERE}"
            )


def _restored(table: AuditedTable, layout: Layout, keys: _Keys) -> dict[int, list[Any]]:
    """The rows whose key cells a file has written at more length, as they were; every other row makes its own key."""
    restored: dict[int, list[Any]] = {}
    for row, (key, values) in enumerate(zip(keys, zip(*table.cells, strict=True), strict=True)):
        own = layout.key_of(values)
        if key is None or own == key:
            continue
        plain = [_plain(cell) if place in layout.key_places else cell for place, cell in enumerate(values)]
        if layout.key_of(plain) != key:
            names = ", ".join(map(repr, layout.key))
            made = f"makes the key {own!r}" if own else "is blank"
            raise CampaignError(f"{_where(table, row)}: {names} {made}, but the key was {key!r}, {_REWRITTEN}")
        restored[row] = plain
    return restored


def _plain(cell: Any) -> Any:
    written = _WRITTEN.fullmatch(cell) if isinstance(cell, str) else None
    return written[1] or written[2] if written else cell


def _check_groups(table: AuditedTable, layout: Layout, keys: _Keys) -> None:
    """The rows of one key were one email, and leave together or not at all."""
    groups: dict[str, tuple[int, str | None]] = {}
    for row, (key, values) in enumerate(zip(keys, zip(*table.cells, strict=True), strict=True)):
        if key is None or not layout.group_by:
            continue
        group = layout.group_of(values)
        first, known = groups.setdefault(key, (row, group))
        if group != known:
            names = ", ".join(map(repr, layout.group_by))
            raise CampaignError(
                f"{_where(table, first)} and {_where(table, row)} were one email, and {names} differs in them: "
                "correct both alike"
            )


def _changed_since(source: Source, table: AuditedTable, keys: _Keys, known: Mapping[str | None, Entry]) -> set[int]:
    """Without a key column: the rows whose email has left, or may have, and that would make another one now."""
    left = {row for row, key in enumerate(keys) if key is not None and known[key].status in _LEFT}
    if not left:
        return set()
    changed = {found.unit.number for found in source.find() if found.key != keys[found.unit.number]} & left
    if not source.layout.group_by:
        return changed
    groups = [source.layout.group_of(values) for values in zip(*table.cells, strict=True)]
    of_changed = {groups[row] for row in changed} - {None}
    return changed | {row for row, group in enumerate(groups) if group in of_changed}


def _where(table: AuditedTable, row: int) -> str:
    return table.where(row, table.lines[row])
