"""A mapping that doesn't stay in memory when it grows: what a table of any length needs to remember of its rows."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Generic, TypeVar

from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

V = TypeVar("V", int, str)

_FEW = 50_000  # keys that a dictionary holds
_CACHE = 8 * 1024  # KiB of pages in memory; the rest is in the system's cache, at no measurable cost


class Spill(Generic[V]):
    """Texts → whole numbers or texts.

    Few are held in a dictionary, more in a private SQLite database: in memory while that is small, else in a file of
    the system's temporary folder that has no name. For one thread at a time.
    """

    def __init__(self) -> None:
        self._few: dict[str, V] | None = {}
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for pragma in ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{_CACHE}"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute("CREATE TABLE item (key BLOB PRIMARY KEY, value) WITHOUT ROWID")
        self._db.execute("BEGIN")

    def setdefault(self, key: str, value: V) -> V:
        """Remember a value unless the key has one already; return the one that it has now.

        Raises:
            CampaignError: the temporary folder is full.
        """
        if self._few is not None:
            found = self._few.setdefault(key, value)
            self._spill()
            return found
        if self._execute("INSERT OR IGNORE INTO item VALUES (?, ?)", _stored(key), value).rowcount:
            return value
        return self[key]

    def setdefaults(self, keys: Sequence[str], values: Sequence[V]) -> list[V]:
        """The same of many, one after the other."""
        if self._few is not None:
            found = list(map(self._few.setdefault, keys, values))
            self._spill()
            return found
        if self._execute_each("INSERT OR IGNORE INTO item VALUES (?, ?)", keys, values) == len(keys):
            return list(values)  # all of them are new, as they mostly are
        return [self[key] for key in keys]

    def __setitem__(self, key: str, value: V) -> None:
        if self._few is not None:
            self._few[key] = value
            self._spill()
            return
        self._execute("INSERT OR REPLACE INTO item VALUES (?, ?)", _stored(key), value)

    def __getitem__(self, key: str) -> V:
        if self._few is not None:
            return self._few[key]
        found = self._execute("SELECT value FROM item WHERE key = ?", _stored(key)).fetchone()
        if found is None:
            raise KeyError(key)
        value: V = found[0]
        return value

    def __contains__(self, key: str) -> bool:
        if self._few is not None:
            return key in self._few
        return self._execute("SELECT 1 FROM item WHERE key = ?", _stored(key)).fetchone() is not None

    def get(self, key: str, default: V) -> V:
        """The key's value, else `default`."""
        try:
            return self[key]
        except KeyError:
            return default

    def _spill(self) -> None:
        if self._few is not None and len(self._few) > _FEW:
            self._execute_each("INSERT INTO item VALUES (?, ?)", self._few.keys(), self._few.values())
            self._few = None

    def _execute(self, statement: str, *values: str | bytes | V) -> sqlite3.Cursor:
        try:
            return self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise _full(error) from error

    def _execute_each(self, statement: str, keys: Iterable[str], values: Iterable[V]) -> int:
        try:
            return self._db.executemany(statement, zip(map(_stored, keys), values, strict=True)).rowcount
        except sqlite3.Error as error:
            raise _full(error) from error


def _full(error: sqlite3.Error) -> CampaignError:
    return CampaignError(
        f"the temporary folder can't hold the table's keys ({error}): make room, or set TMPDIR to another"
    )


def _stored(key: str) -> str | bytes:
    # SQLite takes no text with half a character in it; a blob equals no text, and a text costs half as much.
    return key if key.isascii() else key.encode("utf-8", "surrogatepass")
