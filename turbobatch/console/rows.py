"""A table's rows in any order, as previews: read forward in blocks, of which the last ones are kept."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NoReturn

from turbobatch.errors import CampaignError
from turbobatch.preview import SHOWN_HTML, framed, preview_row
from turbobatch.recipients.table import file_errors
from turbobatch.units import Finder, units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from turbobatch.email import Email
    from turbobatch.recipients import Table
    from turbobatch.units import Finding, Source, Unit

_BLOCK = 500  # units
_KEPT = 12  # blocks
_LONGEST = 100_000  # characters of a text that are shown


class TableChangedError(CampaignError):
    """The table's file isn't what the rows that are shown were read from. It is read anew from now on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One row's preview, as texts that are still to be escaped, but for `frame`.

    Attributes:
        head: names and values: addresses, subject, headers.
        frame: the HTML part in a frame that runs and loads nothing; empty if there is none or it isn't shown.
        unshown: why the HTML part isn't shown.
        cells: the row's own, by column; of a group those of its first row.
        problem: why the row makes no email.
    """

    row: int
    where: str
    key: str = ""
    size: int = 1
    head: tuple[tuple[str, str], ...] = ()
    attachments: tuple[str, ...] = ()
    frame: str = ""
    unshown: str = ""
    text: str = ""
    wire: str = ""
    cells: tuple[tuple[str, str], ...] = ()
    problem: str = ""


class Rows:
    """A table to be looked at. For any thread; one reads at a time.

    Args:
        open_source: opens the table anew.
        campaign: its name.
        api: whose wire fields to show.
    """

    def __init__(self, open_source: Callable[[], Source], campaign: str, api: str) -> None:
        self._open = open_source
        self._campaign = campaign
        self._api = api
        self._lock = threading.Lock()
        self._places: dict[int, int] = {}  # of units by their first row, where groups make them another number
        self._source: Source | None = None
        self._blocks: OrderedDict[int, list[Unit]] = OrderedDict()
        self._units: Iterator[Unit] = iter(())
        self._read: int | None = None  # blocks that `_units` has given

    def reload(self) -> None:
        """Read the table anew from now on: its file may have changed."""
        with self._lock:
            self._forget()

    def follow(self, table: Table) -> None:
        """Compare with a table that was opened since.

        Raises:
            TableChangedError: it is another version of the file.
        """
        with self._lock:
            if self._source is not None and self._source.table.version != table.version:
                self._refuse(self._source)

    def table(self) -> str:
        """The table's name."""
        return self._anew().table.name

    def columns(self) -> tuple[str, ...]:
        """The table's columns."""
        return self._anew().layout.columns

    def count(self, look: Callable[[Sequence[int]], None]) -> Sequence[int]:
        """The first rows of all units, in the table's order; `look` gets those that are known so far, now and then."""
        source = self._anew()
        if not source.layout.group_by:
            total = 0
            for chunk in source.table.chunks():
                total += len(chunk)
                look(range(total))
            return range(total)
        places: dict[int, int] = {}  # a group comes where its last row is
        for place, unit in enumerate(units(source.table, source.layout)):
            places[unit.number] = place
            if len(places) % _BLOCK == 0:
                look(self._sorted(source, places) if len(places) == _BLOCK else ())
        return self._sorted(source, places)

    def _sorted(self, source: Source, places: dict[int, int]) -> Sequence[int]:
        with self._lock:
            if self._source is source:
                self._places = dict(places)
        return tuple(sorted(places))

    def search(self, text: str, column: str | None, look: Callable[[], None]) -> Iterator[int]:
        """The first rows of units that hold a text, in one column or in any, whatever its case.

        Raises:
            TableChangedError: the file was changed.
        """
        with self._lock:
            source = self._same()
        text = text.casefold()
        places = [source.layout.columns.index(column)] if column is not None else range(len(source.layout.columns))
        for number, unit in enumerate(units(source.table, source.layout)):
            if number % _BLOCK == 0:
                look()
            if any(
                text in str(row[place]).casefold() for row in _rows(unit) for place in places if row[place] is not None
            ):
                yield unit.number

    def first_found(
        self, text: str, column: str | None, most: int, look: Callable[[], None]
    ) -> tuple[tuple[int, ...], bool]:
        """So many of what `search` finds, and whether there is more."""
        rows = tuple(islice(self.search(text, column, look), most + 1))
        return rows[:most], len(rows) > most

    def finding(self, row: int, look: Callable[[], None] = lambda: None) -> tuple[Source, Finding]:
        """The unit that begins with a row, and the merger for it.

        Raises:
            TableChangedError: the file was changed since its rows were read.
            CampaignError: there is none.
        """
        with self._lock:
            source = self._same()
            try:
                unit = self._unit(source, row, look)
            except CampaignError:
                self._same()  # what went wrong may be that the file was changed meanwhile
                self._restart()
                raise
        return source, Finder(source.layout, source.merger).look_at(unit)

    def page(self, row: int, look: Callable[[], None] = lambda: None) -> Page:
        """A row's preview.

        Raises:
            CampaignError: as `finding`.
        """
        source, finding = self.finding(row, look)
        unit = finding.unit
        cells = zip(source.layout.columns, map(_cell, unit.values), strict=True)
        own: dict[str, Any] = {"row": row, "where": unit.where, "size": unit.size, "cells": tuple(cells)}
        shown = preview_row(iter([finding]), source.merger, row, self._campaign)
        if shown is None or shown.email is None:
            return Page(**own, key=finding.key or "", problem=shown.message if shown is not None else finding.message)
        email = shown.email
        frame = framed(email, height="26em") if email.html_content else ""
        is_large = len(frame) > SHOWN_HTML  # each step would send it to the page
        size = f"HTML, {len(email.html_content):,} characters"
        return Page(
            **own,
            key=shown.key or "",
            head=tuple(_head(email)),
            attachments=tuple(f"{item.name} ({item.type}, {len(item.content):,} bytes)" for item in email.attachments),
            frame="" if is_large else frame,
            unshown=f"{size}: with its images too much to be shown here" if is_large else "",
            text=_short(email.content or email.mime_raw or ""),
            wire=_short(shown.render("wire", api=self._api)),
        )

    def _anew(self) -> Source:
        """The table as it is now, also where its file was changed."""
        with self._lock:
            if self._source is not None and not _is_current(self._source):
                self._forget()
            return self._same()

    def _same(self) -> Source:
        """The table that was read before; opened now if none was. A look at the file's status each time."""
        if self._source is not None and not _is_current(self._source):
            self._refuse(self._source)
        if self._source is None:
            self._source = self._open()
        return self._source

    def _refuse(self, source: Source) -> NoReturn:
        self._forget()
        raise TableChangedError(f"{source.table.name} was changed: read anew")

    def _forget(self) -> None:
        self._source = None
        self._places = {}
        self._restart()

    def _restart(self) -> None:
        self._read = None
        self._blocks.clear()
        self._units = iter(())

    def _unit(self, source: Source, row: int, look: Callable[[], None]) -> Unit:
        place = self._places.get(row, -1) if source.layout.group_by else row
        number, index = divmod(place, _BLOCK)
        block = self._block(source, number, look) if place >= 0 else []
        if index >= len(block):
            raise CampaignError(f"{source.table.name} has no row {row}: rows count from 0")
        return block[index]

    def _block(self, source: Source, number: int, look: Callable[[], None]) -> list[Unit]:
        if number in self._blocks:
            self._blocks.move_to_end(number)
            return self._blocks[number]
        if self._read is None or self._read > number:
            self._units, self._read = units(source.table, source.layout), 0
        block: list[Unit] = []
        while self._read <= number:
            look()
            block = list(islice(self._units, _BLOCK))
            if not block:
                break
            self._blocks[self._read] = block
            self._read += 1
            if len(self._blocks) > _KEPT:
                self._blocks.popitem(last=False)
        return block


def _is_current(source: Source) -> bool:
    version = source.table.version
    if version is None:
        return True
    with file_errors(version.path):
        return version.is_current()


def _rows(unit: Unit) -> Sequence[tuple[Any, ...]]:
    return unit.rows if unit.rows is not None else (unit.values,)


def _head(email: Email) -> Iterator[tuple[str, str]]:
    yield "From", str(email.from_)
    for name, found in (("To", email.to), ("Cc", email.cc), ("Bcc", email.bcc)):
        if found:
            yield name, ", ".join(map(str, found))
    yield "Subject", email.subject
    yield from email.headers.items()


def _cell(value: Any) -> str:
    return "" if value is None else _short(value if isinstance(value, str) else _text(value))


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, (list, dict)) else str(value)


def _short(text: str) -> str:
    more = f"\n… and {len(text) - _LONGEST:,} characters more" if len(text) > _LONGEST else ""
    return text[:_LONGEST] + more
