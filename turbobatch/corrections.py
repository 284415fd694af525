"""A corrected audit against the journal: whether its keys are still the ones that were sent under.

What an audit lists may have left all the same (an email that bounced, a row in doubt), so a key that a spreadsheet has
rewritten could send it again. The journal knows every key that an audit of this campaign can have.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError
from turbobatch.overlay import overlaid, plain
from turbobatch.policy import Status
from turbobatch.units import given_key, key_parts, key_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from turbobatch.journal import Entry
    from turbobatch.journal.opening import OpenJournal
    from turbobatch.recipients.audited import AuditedTable
    from turbobatch.units import Layout, Source

_AT_ONCE = 5000  # keys
_LEFT = (Status.SENT, Status.IN_DOUBT)
_REWRITTEN = "as where a spreadsheet rewrites numbers: format the column as text and put the key back"
_ELSEWHERE = "to send it with another campaign, delete the audit's own columns"

_Keys = list[str | None]


def checked_corrections(
    source: Source, table: AuditedTable, open_journal: Callable[[], OpenJournal], original: Callable[[], Source | None]
) -> Source:
    """The source of an audit that was given back, without the rows that could leave twice, and with what to say of it.

    `original` opens the table that was sent.

    Raises:
        CampaignError: a key isn't what it was, or only a part of a group was corrected.
        JournalError: the journal can't be read.
    """
    keys = [given_key(table, row) for row in range(len(table.lines))]
    with open_journal() as journal:
        known = _entries(journal, [key for key in keys if key is not None])
        _check_known(table, keys, known)
        table = overlaid(table, source.layout, original)
        if source.layout.key:
            table = table.with_cells(_restored(table, source.layout, keys))
        if source.layout.group_by:
            _check_groups(table, source.layout, keys)
        made = _made_now(source._replace(table=table), table, keys)
        known |= _entries(journal, [new for key, new in made.items() if new != key])
    pairs = zip(keys, table.statuses, strict=True)
    left = sum(status == Status.SENT and key in known and known[key].status is Status.SENT for key, status in pairs)
    if left:
        have = (
            "1 row has left, or may have, and isn't"
            if left == 1
            else f"{left:,} rows have left, or may have, and aren't"
        )
        table = table.warned(f"{table.name}: {have} sent again, corrected or not; {_ELSEWHERE}")
    return source._replace(table=_without_doubles(table, keys, made, known))


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
    """The rows whose key cells a file has written at more length, as they were.

    An address in a key may have been corrected; whatever else has changed there shows that cells were rewritten.
    """
    restored: dict[int, list[Any]] = {}
    for row, (key, values) in enumerate(zip(keys, zip(*table.cells, strict=True), strict=True)):
        own = layout.key_of(values)
        if key is None or own == key:
            continue
        short = [plain(cell) if place in layout.key_places else cell for place, cell in enumerate(values)]
        if not _is_corrected(key, [key_text(short[place]) for place in layout.key_places]):
            names = ", ".join(map(repr, layout.key))
            made = f"makes the key {own!r}" if own else "is blank"
            raise CampaignError(f"{_where(table, row)}: {names} {made}, but the key was {key!r}, {_REWRITTEN}")
        restored[row] = short
    return restored


def _is_corrected(key: str, texts: Sequence[str]) -> bool:
    """Whether key cells differ in addresses alone from what they were, if at all: no spreadsheet rewrites those."""
    parts = key_parts(key, len(texts))
    return parts is not None and all(
        text == part or "@" in part or "@" in text for text, part in zip(texts, parts, strict=True)
    )


def _check_groups(table: AuditedTable, layout: Layout, keys: _Keys) -> None:
    """The rows of one key were one email, and leave together or not at all; those of two keys were two."""
    by_key: dict[str, tuple[int, Sequence[Any]]] = {}
    by_group: dict[str, tuple[int, str | None]] = {}
    for row, (key, values) in enumerate(zip(keys, zip(*table.cells, strict=True), strict=True)):
        group = layout.group_of(values)
        first, like = by_key.setdefault(key, (row, values)) if key is not None else (row, values)
        if (group, layout.key_of(values)) != (layout.group_of(like), layout.key_of(like)):
            differ = group != layout.group_of(like)
            names = ", ".join(map(repr, layout.group_by if differ else layout.key))
            raise CampaignError(
                f"{_where(table, first)} and {_where(table, row)} were one email, and {names} differs in them: "
                "correct both alike"
            )
        first, known = by_group.setdefault(group, (row, key)) if group is not None else (row, key)
        if key != known:
            names = ", ".join(map(repr, layout.group_by))
            raise CampaignError(
                f"{_where(table, first)} and {_where(table, row)} were two emails, and {names} is the same in them "
                "now: correct one of them, or take its lines out"
            )


def _made_now(source: Source, table: AuditedTable, keys: _Keys) -> dict[str, str]:
    """Which key each email would get now, were it a new one, by the key that it has."""
    made: dict[str, str] = {}
    if source.layout.key:
        for key, values in zip(keys, zip(*table.cells, strict=True), strict=True):
            if key is not None:
                made.setdefault(key, source.layout.key_of(values) or key)
        return made
    for found in source._replace(table=table.without_keys()).find():
        key = keys[found.unit.number]
        if key is not None:
            made[key] = found.key or key
    return made


def _without_doubles(
    table: AuditedTable, keys: _Keys, made: Mapping[str, str], known: Mapping[str | None, Entry]
) -> AuditedTable:
    """The table without emails that corrections have made the same as others.

    They are duplicates, which the table's own rows would have been too: but each has its old key now.
    """
    had_left = {key for key, status in zip(keys, table.statuses, strict=True) if status == Status.SENT}
    sent = {key for key in made if known[key].status is Status.SENT}
    firsts: dict[str, str] = {}
    held: set[str | None] = set()
    for key, new in sorted(made.items(), key=lambda item: item[0] != item[1] and item[0] not in sent):
        if key in had_left:
            continue  # what was corrected since doesn't leave
        is_first = firsts.setdefault(new, key) == key
        has_left = new != key and new in known and known[new].status in _LEFT
        if key not in sent and (has_left or not is_first):
            held.add(key)
    rows = [row for row, key in enumerate(keys) if key in held]
    if not rows:
        return table
    them = (
        "1 row makes the same email as another now and is"
        if len(rows) == 1
        else (f"{len(rows):,} rows make the same emails as others now and are")
    )
    return table.without(rows).warned(f"{table.name}: {them} left out: {_where(table, rows[0])}")


def _where(table: AuditedTable, row: int) -> str:
    return table.where(row, table.lines[row])
