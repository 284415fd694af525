"""A table's rows in any order, as previews: read forward in blocks, of which the last ones are kept."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError
from turbobatch.preview import framed, preview_row
from turbobatch.units import Finder, units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from turbobatch.email import Email
    from turbobatch.units import Finding, Source, Unit

_BLOCK = 500  # units
_KEPT = 12  # blocks
_LONGEST = 100_000  # characters of a text that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One row's preview, as texts that are still to be escaped, but for `frame`.

    Attributes:
        head: names and values: addresses, subject, headers.
        frame: the HTML part in a frame that runs and loads nothing; empty if there is none.
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

    def table(self) -> str:
        """The table's name."""
        return self._now().table.name

    def columns(self) -> tuple[str, ...]:
        """The table's columns."""
        return self._now().layout.columns

    def count(self, look: Callable[[Sequence[int]], None]) -> Sequence[int]:
        """The first rows of all units; `look` gets those that are known so far, now and then."""
        source = self._now()
        if not source.layout.group_by:
            total = 0
            for chunk in source.table.chunks():
                total += len(chunk)
                look(range(total))
            return range(total)
        numbers: list[int] = []
        for unit in units(source.table, source.layout):
            numbers.append(unit.number)
            if len(numbers) % _BLOCK == 0:
                look(())
        with self._lock:
            self._places = {number: place for place, number in enumerate(numbers)}
        return tuple(numbers)

    def search(self, text: str, column: str | None, look: Callable[[], None]) -> Iterator[int]:
        """The first rows of units that hold a text, in one column or in any, whatever its case."""
        source = self._now()
        text = text.casefold()
        places = [source.layout.columns.index(column)] if column is not None else range(len(source.layout.columns))
        for number, unit in enumerate(units(source.table, source.layout)):
            if number % _BLOCK == 0:
                look()
            if any(
                text in str(row[place]).casefold() for row in _rows(unit) for place in places if row[place] is not None
            ):
                yield unit.number

    def finding(self, row: int, look: Callable[[], None] = lambda: None) -> tuple[Source, Finding]:
        """The unit that begins with a row, and the merger for it.

        Raises:
            CampaignError: there is none, or the file was changed.
        """
        with self._lock:
            try:
                source = self._source or self._reopen()
                unit = self._unit(source, row, look)
            except CampaignError:
                self._forget()  # of a file that was changed, the next look shows what it is now
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
        return Page(
            **own,
            key=shown.key or "",
            head=tuple(_head(email)),
            attachments=tuple(f"{item.name} ({item.type}, {len(item.content):,} bytes)" for item in email.attachments),
            frame=framed(email, height="26em") if email.html_content else "",
            text=_short(email.content or email.mime_raw or ""),
            wire=_short(shown.render("wire", api=self._api)),
        )

    def _now(self) -> Source:
        with self._lock:
            return self._source or self._reopen()

    def _reopen(self) -> Source:
        self._source = source = self._open()
        return source

    def _forget(self) -> None:
        self._source = self._read = None
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
