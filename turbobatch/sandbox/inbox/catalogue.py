"""The SQL behind the list: what is searched, counted and paged of a message store."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from turbobatch.sandbox.inbox.badges import Badge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from turbobatch.sandbox.store import MessageStore

PAGE = 50  # messages on a page of the list
_LINE = "id, campaign, fault, badges, line"
_SLICE = 2000  # messages that a search reads before it lets others have the store
_GAP = 0.0005  # seconds: who waits for a lock doesn't get it from one who takes it again at once
_TERMS = 8  # words of a search that count


class Show(StrEnum):
    """By what came of a request."""

    ACCEPTED = "accepted"
    SPOILED = "spoiled"  # accepted, but the answer met a fault
    REFUSED = "refused"  # by the API's rules
    FAILED = "failed"  # a fault without acceptance

    @property
    def is_accepted(self) -> bool:
        """Whether the messages are in the inbox, which the others never were."""
        return self in (Show.ACCEPTED, Show.SPOILED)


@dataclass(frozen=True, slots=True)
class Filter:
    """What the list is narrowed to.

    `q` holds words that all must occur. `campaign` is None for all of them, "" for messages without one. `badge` is
    one of the badges, "any" for every defect of the merge, or "".
    """

    show: Show = Show.ACCEPTED
    q: str = ""
    campaign: str | None = None
    badge: str = ""

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Filter:
        """Read an address's query; what makes no sense is left out."""
        show, badge = query.get("show", ""), query.get("badge", "")
        return cls(
            Show(show) if show in list(Show) else Show.ACCEPTED,
            query.get("q", "").strip()[:500],
            _campaign(query.get("campaign", "")),
            badge if badge == "any" or badge in list(Badge) else "",
        )

    def query(self) -> dict[str, str]:
        """The same as an address's query, without what is as it is by itself."""
        return {
            **({"show": self.show.value} if self.show is not Show.ACCEPTED else {}),
            **({"q": self.q} if self.q else {}),
            **({"campaign": self.campaign or "-"} if self.campaign is not None else {}),
            **({"badge": self.badge} if self.badge else {}),
        }


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the list; the rest of `data` is what the entry's line holds."""

    id: int
    campaign: str
    fault: str
    badges: tuple[Badge, ...]
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Look:
    """A page of the list at one moment.

    `last` is the newest id that there is, found or not; `total` counts what is found, `fresh` what of it came after the
    id that was asked about.
    """

    lines: tuple[Line, ...]
    number: int
    pages: int
    total: int
    fresh: int
    last: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message stands among those of a filter, newest first, counted from 1; its neighbours' ids."""

    position: int
    total: int
    newer: int | None
    older: int | None


class Catalogue:
    """The list over a store."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store

    def page(self, narrowed: Filter, number: int = 1) -> list[Line]:
        """A page of the list, newest first."""
        found, values = _found(narrowed)
        sql = f"SELECT {_LINE} {found} ORDER BY id DESC LIMIT :limit OFFSET :offset"
        return [_line(row) for row in self._all(sql, values | {"limit": PAGE, "offset": (number - 1) * PAGE})]

    def look(self, narrowed: Filter, number: int = 1, *, after: int | None = None) -> Look:
        """A page of the list, the nearest that there is, with its counts; with `after` only what came after that id.

        Nothing arrives in between: who asks next for what came after `last` misses nothing and gets nothing twice.
        """
        if narrowed.q and narrowed.show.is_accepted:
            return self._searched(narrowed, number, after)
        found, values = _found(narrowed)
        newer = f"{found} AND id > :after"
        values |= {"after": after or 0, "limit": PAGE}
        with self._store.use() as db:
            (last,) = db.execute(f"SELECT coalesce(max(id), 0) {_table(narrowed.show)}").fetchone()
            (total,) = db.execute(f"SELECT count(*) {found}", values).fetchone()
            pages = max(1, -(-total // PAGE))
            number = min(max(1, number), pages)
            values["offset"] = (number - 1) * PAGE if after is None else 0
            rows = db.execute(f"SELECT {_LINE} {newer} ORDER BY id DESC LIMIT :limit OFFSET :offset", values).fetchall()
            fresh = len(rows)
            if after is not None and fresh == PAGE:
                (fresh,) = db.execute(f"SELECT count(*) {newer}", values).fetchone()
        return Look(tuple(map(_line, rows)), number, pages, total, fresh, last)

    def _searched(self, narrowed: Filter, number: int, after: int | None) -> Look:
        """The same for words, whose search reads every message: a slice at a time, so that sends come in between."""
        found, values = _found(narrowed)
        bounds = self._all(f"SELECT coalesce(min(id), 1), coalesce(max(id), 0) {_table(narrowed.show)}", {})
        first, last = bounds[0]
        sql = f"SELECT id {found} AND id > :low AND id <= :high ORDER BY id DESC"
        ids: list[int] = []
        for high in range(last, first - 1, -_SLICE):
            ids += [place for (place,) in self._all(sql, values | {"low": high - _SLICE, "high": high})]
            time.sleep(_GAP)
        fresh = [place for place in ids if after is None or place > after]
        pages = max(1, -(-len(ids) // PAGE))
        number = min(max(1, number), pages)
        start = (number - 1) * PAGE if after is None else 0
        lines = [self.line(narrowed.show, place) for place in fresh[start : start + PAGE]]
        shown = tuple(line for line in lines if line is not None)
        return Look(shown, number, pages, len(ids), len(fresh) if after is not None else len(shown), last)

    def count(self, narrowed: Filter) -> int:
        """How many messages there are."""
        found, values = _found(narrowed)
        return self._number(f"SELECT count(*) {found}", values)

    def line(self, show: Show, number: int) -> Line | None:
        """The line of one message."""
        sql = f"SELECT {_LINE} {_table(show)} WHERE id = :id"
        rows = self._all(sql, {"id": number})
        return _line(rows[0]) if rows else None

    def place(self, narrowed: Filter, number: int) -> Place:
        """Where a message stands."""
        found, values = _found(narrowed)
        values |= {"id": number}
        position = self._number(f"SELECT count(*) {found} AND id >= :id", values)
        older = self._number(f"SELECT count(*) {found} AND id < :id", values)
        neighbours = (
            self._all(f"SELECT id {found} AND id {step} LIMIT 1", values)
            for step in ("> :id ORDER BY id", "< :id ORDER BY id DESC")
        )
        return Place(position, position + older, *(rows[0][0] if rows else None for rows in neighbours))

    def campaigns(self, show: Show) -> list[tuple[str, int]]:
        """Campaigns and their messages, the newest campaign first; "" stands for none."""
        sql = f"SELECT campaign, count(*) {_table(show)} GROUP BY campaign ORDER BY max(id) DESC LIMIT 500"
        return [(name, count) for name, count in self._all(sql, {})]

    def badges(self, show: Show) -> dict[Badge, int]:
        """How many messages have each badge, in the order of the badges."""
        rows = self._all(f"SELECT badges, count(*) {_table(show)} WHERE badges <> '' GROUP BY badges", {})
        found = [(_badges(joined), count) for joined, count in rows]
        counts = {badge: sum(count for badges, count in found if badge in badges) for badge in Badge}
        return {badge: count for badge, count in counts.items() if count}

    def same_key(self, number: int) -> list[int]:
        """The ids of all messages with the key of this one, its own too, oldest first; a hundred at most."""
        sql = (
            "SELECT id FROM sandbox_listing WHERE key = (SELECT key FROM sandbox_listing WHERE id = :id)"
            " ORDER BY id LIMIT 100"
        )
        return [found for (found,) in self._all(sql, {"id": number})]

    def refused_fields(self, number: int) -> dict[str, Any] | None:
        """The fields of a request that was not accepted."""
        rows = self._all("SELECT fields FROM sandbox_refusal WHERE id = :id", {"id": number})
        return dict(json.loads(rows[0][0])) if rows else None

    def _all(self, sql: str, values: Mapping[str, Any]) -> list[Any]:
        with self._store.use() as db:
            return db.execute(sql, values).fetchall()

    def _number(self, sql: str, values: Mapping[str, Any]) -> int:
        return int(self._all(sql, values)[0][0])


def _table(show: Show) -> str:
    return "FROM sandbox_listing" if show.is_accepted else "FROM sandbox_refusal"


def _found(narrowed: Filter) -> tuple[str, dict[str, Any]]:
    """FROM and WHERE, and their values."""
    table = _table(narrowed.show)
    values: dict[str, Any] = {}
    parts = ["1"]
    terms = narrowed.q.casefold().split()[:_TERMS]
    if terms and narrowed.show.is_accepted:
        table += " CROSS JOIN sandbox_words USING (id)"  # CROSS: in this order, newest first
    for number, term in enumerate(terms):
        parts.append(f"instr(words, :term{number})")
        values[f"term{number}"] = term
    if narrowed.show is not Show.ACCEPTED:
        parts.append("fault = ''" if narrowed.show is Show.REFUSED else "fault <> ''")
    if narrowed.campaign is not None:
        parts.append("campaign = :campaign")
        values["campaign"] = narrowed.campaign
    if narrowed.badge:
        parts.append("badges <> ''")
    if narrowed.badge == "any":
        parts.append(f"badges <> ',{Badge.SECOND},'")
    if narrowed.badge not in ("", "any"):
        parts.append("instr(badges, :badge)")
        values["badge"] = f",{narrowed.badge},"
    return f"{table} WHERE {' AND '.join(parts)}", values


def _line(row: tuple[int, str, str, str, str]) -> Line:
    number, campaign, fault, badges, line = row
    return Line(number, campaign, fault, _badges(badges), json.loads(line))


def _badges(joined: str) -> tuple[Badge, ...]:
    return tuple(Badge(name) for name in joined.split(",") if name in _KNOWN)


_KNOWN = frozenset(badge.value for badge in Badge)


def _campaign(text: str) -> str | None:
    # A dash stands for messages without a campaign, since an empty choice means all of them.
    return {"": None, "-": ""}.get(text, text)
