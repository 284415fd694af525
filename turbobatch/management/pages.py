"""A list that comes in pages, while it grows at its other end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from turbobatch.errors import ManagementError
from turbobatch.management.answers import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_LEAST_FULL = 10  # rows: the API's own page, which is the least that a cap can leave of a larger one
_NO_WORD_ON_THE_PAGE = frozenset({401, 403, 408, 429})  # refusals of who asks or how often, not of what is asked for
_STALE_PAGES = 20  # pages in a row without anything new, before the list is taken for endless
_REMEMBERED = (
    50_000  # rows, once to twice as many, that may come a second time when newer ones have pushed them to the next page
)


class EndlessError(Exception):
    """The same rows come again and again."""


def listed(
    fetch: Callable[[int], Page],
    page_size: int,
    read: Callable[[dict[str, Any]], T],
    key: Callable[[T], object],
) -> Iterator[T]:
    """Walk through the pages, each row once.

    The host may give fewer rows to a page than were asked for, and newer rows may push known ones to the next page. So
    only an empty page is surely the last, or one that isn't full and completes the count. A full one that completes it
    is followed by another look, where some hosts have no such page and refuse it: that is the end too.

    Args:
        fetch: gets the page with this number, from 1.
        page_size: rows that were asked for at a time.
        read: makes a row of one result.
        key: what tells one row from another.

    Raises:
        EndlessError: the pages go on and on without anything new.
        ManagementError: what `fetch` raises, but for such a refusal.
    """
    known: set[object] = set()
    older: set[object] = set()  # two halves: to delete single rows, oldest first, would take longer with each
    received = stale = 0
    number = 1
    before: list[dict[str, Any]] = []
    is_counted = False
    while (page := _beyond(fetch, number) if is_counted else fetch(number)).rows:
        new = []
        for row in map(read, page.rows):
            if (name := key(row)) not in known and name not in older:
                known.add(name)
                new.append(row)
        yield from new
        received += len(page.rows)
        is_counted = page.total is not None and received >= page.total
        if is_counted and len(page.rows) < min(page_size, _LEAST_FULL):
            return
        stale = 0 if new else stale + 1
        if stale == _STALE_PAGES:
            if page.total is None and page.rows == before:
                return  # a host that repeats its last page for want of another; news push it along only so often
            raise EndlessError
        if len(known) > _REMEMBERED:
            known, older = set(), known
        before = page.rows
        number += 1


def _beyond(fetch: Callable[[int], Page], number: int) -> Page:
    """The page after all that were counted; a refusal of it is an empty one."""
    try:
        return fetch(number)
    except ManagementError as error:
        refused = error.http_status is not None and 400 <= error.http_status < 500  # noqa: PLR2004 - HTTP's classes
        if not refused or error.http_status in _NO_WORD_ON_THE_PAGE:
            raise
    return Page([], None)
