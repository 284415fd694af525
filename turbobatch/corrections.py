"""A corrected audit against the journal: whether its keys are still the ones that were sent under.

What an audit lists may have left all the same (an email that bounced, a row in doubt), so a key that a spreadsheet has
rewritten could send it again. The journal knows every key that an audit of this campaign can have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError
from turbobatch.policy import Status
from turbobatch.recipients.audited import AuditedTable
from turbobatch.units import key_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from turbobatch.journal import Entry, SqliteJournal
    from turbobatch.units import Layout, Source

_AT_ONCE = 5000  # keys
_LEFT = (Status.SENT, Status.IN_DOUBT)


def checked_corrections(source: Source, open_journal: Callable[[], SqliteJournal]) -> Source:
    """The source of an audit that was given back, without the rows that could leave twice, and with what to say of it.

    Raises:
        CampaignError: a key isn't what it was, or only a part of a group was corrected.
        JournalError: the journal can't be read.
    """
    table = source.table
    assert isinstance(table, AuditedTable)  # noqa: S101 - for the type checker
    keys = [key_text(key) or None for key in table.keys]
    with open_journal() as journal:
        if not sum(journal.counts().values()):
            return source._replace(
                table=table.warned(
                    f"{table.name} is the audit of another campaign: all of its rows are new to this one"
                )
            )
        known = _entries(journal, [key for key in keys if key is not None])
    table = table.with_cells(_checked_keys(table, source.layout, keys, known))
    if source.layout.key:
        left = sum(
            status == Status.SENT and key is not None and known[key].status is Status.SENT
            for key, status in zip(keys, table.statuses, strict=True)
        )
        told = f"left already: {_emails(left)} won't be sent again, corrected or not"
    else:
        held = _changed_since(source, keys, known)
        left, table = len(held), table.without(held)
        told = f"left already, or in doubt, and changed since: {_emails(left)} won't be sent again"
    if left:
        table = table.warned(f"{table.name}: {told}; what is to go to another address takes another campaign")
    return source._replace(table=table)


def _emails(rows: int) -> str:
    return "1 row" if rows == 1 else f"{rows:,} rows"


def _entries(journal: SqliteJournal, keys: Sequence[str]) -> dict[str, Entry]:
    known: dict[str, Entry] = {}
    for start in range(0, len(keys), _AT_ONCE):
        known |= journal.lookup(keys[start : start + _AT_ONCE])
    return known


def _checked_keys(
    table: AuditedTable, layout: Layout, keys: Sequence[str | None], known: Mapping[str, Entry]
) -> dict[int, list[Any]]:
    """Make sure of every row's key. Tells the rows with a day in their key that a file has written with its hours."""
    rewritten = "as where a spreadsheet rewrites numbers: format the column as text and put the key back"
    restored: dict[int, list[Any]] = {}
    groups: dict[str, tuple[str | None, str]] = {}
    for row, (key, values) in enumerate(zip(keys, zip(*table.cells, strict=True), strict=True)):
        if key is None:  # the row had none, so nothing can have left under it
            continue
        where = table.where(row, table.lines[row])
        if key not in known:
            raise CampaignError(
                f"{where}: this campaign knows no key {key!r}, which column 'send_key' names, {rewritten}; of another "
                "campaign's audit, delete the audit's columns"
            )
        if not layout.key:
            continue
        own = layout.key_of(values)
        if own != key and layout.key_of(plain := [*map(_without_midnight, values)]) == key:
            restored[row] = plain
        elif own != key:
            names = ", ".join(map(repr, layout.key))
            made = f"makes the key {own!r}" if own else "is blank"
            raise CampaignError(f"{where}: {names} {made}, but it was {key!r}, {rewritten}")
        if layout.group_by:
            group, first = groups.setdefault(key, (layout.group_of(values), where))
            if group != layout.group_of(values):
                names = ", ".join(map(repr, layout.group_by))
                raise CampaignError(
                    f"{first} and {where} were one email, and {names} differs in them: correct both alike"
                )
    return restored


def _without_midnight(cell: Any) -> Any:
    return cell.removesuffix(" 00:00:00") if isinstance(cell, str) else cell


def _changed_since(source: Source, keys: Sequence[str | None], known: Mapping[str, Entry]) -> set[int]:
    """Without a key column: the rows whose email has left, or may have, and that would make another one now."""
    left = {row for row, key in enumerate(keys) if key is not None and known[key].status in _LEFT}
    if not left:
        return set()
    changed = {found.unit.number for found in source.find() if found.key != keys[found.unit.number]} & left
    if not source.layout.group_by:
        return changed
    rows = list(zip(*source.table.cells, strict=True)) if isinstance(source.table, AuditedTable) else []
    groups = {source.layout.group_of(rows[row]) for row in changed}
    return changed | {row for row, values in enumerate(rows) if source.layout.group_of(values) in groups - {None}}
