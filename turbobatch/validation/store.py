"""What the vendor has judged, and what it was paid for and hasn't told yet, in one SQLite file beside the journal.

WAL and synchronous=FULL: what is noted before a POST is still there after a crash. One process at a time has the file,
so that two checks don't pay for the same addresses. It holds addresses, so its mode is 0600.
"""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from turbobatch.addresses import CONTROL
from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from turbobatch.management import Validation

KEPT = 30 * 86_400.0  # seconds for which a judgement is used again
KEPT_UNKNOWN = 86_400.0  # seconds for which "unknown" is

_APPLICATION_ID = 0x7462766C  # "tbvl": tells the file from any other SQLite file
_VERSION = 1
_LOCK_WAIT = 1.0  # seconds
_AT_ONCE = 1000  # rows that are written together
_LONGEST = 200  # characters of what the vendor says of an address

_TABLES = """
CREATE TABLE IF NOT EXISTS judged (
    address TEXT PRIMARY KEY, status TEXT NOT NULL, sub_status TEXT NOT NULL, did_you_mean TEXT, time REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS list (list_id TEXT NOT NULL, total INTEGER NOT NULL, is_sure INTEGER NOT NULL, time REAL);
CREATE TABLE IF NOT EXISTS listed (address TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TEMP TABLE wanted (number INTEGER, place TEXT, field TEXT, address TEXT, key TEXT);
"""
_FRESH = "judged.time >= CASE judged.status WHEN 'unknown' THEN :since_unknown ELSE :since END"


class Wanted(NamedTuple):
    """An address that a row could be sent to: the row, as messages name it too, the email's field and its key."""

    number: int
    where: str
    field: str
    address: str
    key: str


class Need(NamedTuple):
    """How many of the wanted addresses have to be judged, which costs a credit each, and how many are already."""

    new: int
    known: int


class Pending(NamedTuple):
    """A list of `total` addresses that was noted, in seconds since the epoch, before it was started.

    `is_sure`: the vendor has said that it is started.
    """

    list_id: str
    total: int
    is_sure: bool
    time: float


class Judged(NamedTuple):
    """A wanted address and what it was judged to be."""

    wanted: Wanted
    status: str
    sub_status: str
    did_you_mean: str | None


class Store:
    """The judgements of one campaign. For one thread at a time; `with` closes it.

    Args:
        path: its file.
        clock: seconds since the epoch.

    Raises:
        CampaignError: the file can't be used, or another process has it.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        now = clock()  # the same moment for all that is asked, so that counts and lists agree
        self._since = {"since": now - KEPT, "since_unknown": now - KEPT_UNKNOWN}
        self._buffer: list[Wanted] = []
        with self._one_line_errors():
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            self._db = sqlite3.connect(path, timeout=_LOCK_WAIT, isolation_level=None, check_same_thread=False)
        try:
            with self._one_line_errors():
                self._take()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._db.close()

    # What is wanted

    def want(self, wanted: Wanted) -> None:
        """Note an address that is to be judged."""
        self._buffer.append(wanted)
        if len(self._buffer) >= _AT_ONCE:
            self._flush()

    def need(self) -> Need:
        """What it takes to have all of them judged."""
        self._flush()
        total = self._value("SELECT count(DISTINCT address) FROM wanted")
        known = self._value(
            f"SELECT count(DISTINCT wanted.address) FROM wanted JOIN judged USING (address) WHERE {_FRESH}",  # noqa: S608 - a constant
            self._since,
        )
        return Need(total - known, known)

    def new(self, limit: int) -> list[str]:
        """The first of those that have to be judged, in the rows' order."""
        self._flush()
        rows = self._rows(
            "SELECT address FROM wanted WHERE NOT EXISTS"  # noqa: S608 - a constant
            f" (SELECT 1 FROM judged WHERE judged.address = wanted.address AND {_FRESH})"
            " GROUP BY address ORDER BY min(rowid) LIMIT :limit",
            {**self._since, "limit": limit},
        )
        return [address for (address,) in rows]

    def counts(self) -> dict[str, int]:
        """How many of the wanted addresses were judged to be what."""
        self._flush()
        rows = self._rows(
            "SELECT status, count(DISTINCT wanted.address) FROM wanted JOIN judged USING (address)"
            " GROUP BY status ORDER BY 2 DESC, 1"
        )
        return dict(rows)

    def judged(self, statuses: Sequence[str]) -> Iterator[Judged]:
        """The wanted addresses that were judged to be one of these, row by row."""
        self._flush()
        marks = ", ".join("?" * len(statuses))
        rows = self._rows(
            "SELECT number, place, field, wanted.address, key, status, sub_status, did_you_mean"  # noqa: S608 - question marks
            f" FROM wanted JOIN judged USING (address) WHERE status IN ({marks}) ORDER BY number, wanted.rowid",
            tuple(statuses),
        )
        for *wanted, status, sub_status, did_you_mean in rows:
            yield Judged(Wanted(*wanted), status, sub_status, did_you_mean)

    # What is judged

    def note(self, address: str) -> None:
        """Note an address before it is asked about alone: without an answer it counts as unknown."""
        self._write([(address, "unknown", "no_answer", None)])

    def forget(self, address: str) -> None:
        """Forget it: it surely wasn't paid for."""
        with self._transaction():
            self._db.execute("DELETE FROM judged WHERE address = ?", (address,))

    def keep(self, address: str, found: Validation) -> None:
        """Keep the judgement of an address that was asked about alone."""
        self._write([(address, *_told(found))])

    # The list that is paid for

    def pending(self) -> Pending | None:
        """The list that was noted and not finished, if there is one."""
        for list_id, total, is_sure, at in self._rows("SELECT list_id, total, is_sure, time FROM list"):
            return Pending(list_id, total, bool(is_sure), at)
        return None

    def note_list(self, list_id: str, addresses: Sequence[str]) -> None:
        """Note a list before it is started."""
        with self._transaction():
            self._db.execute("INSERT INTO list VALUES (?, ?, 0, ?)", (list_id, len(addresses), self._clock()))
            self._db.executemany("INSERT OR IGNORE INTO listed VALUES (?)", ((item,) for item in addresses))

    def confirm_list(self) -> None:
        """Note that it is started."""
        with self._transaction():
            self._db.execute("UPDATE list SET is_sure = 1")

    def drop_list(self) -> None:
        """Forget it: its addresses are as they were."""
        with self._transaction():
            self._drop()

    def finish_list(self, results: Iterable[Validation]) -> None:
        """Keep a list's judgements, all or none; an address that the vendor says nothing of is unknown."""
        with self._transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO judged SELECT address, 'unknown', 'no_result', NULL, ? FROM listed",
                (self._clock(),),
            )
            self._insert((found.email.strip().lower(), *_told(found)) for found in results)
            self._drop()

    def _take(self) -> None:
        with suppress(PermissionError):
            self._path.chmod(0o600)
        self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
        mark, tables = self._value("PRAGMA application_id"), self._value("SELECT count(*) FROM sqlite_master")
        version = self._value("PRAGMA user_version")
        if tables and (mark, version) != (_APPLICATION_ID, _VERSION):
            raise CampaignError(f"{self._path} is no file of this version's judgements: move it away")
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        with self._transaction():
            for statement in _TABLES.split(";\n"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def _flush(self) -> None:
        if self._buffer:
            with self._transaction("BEGIN"):
                self._db.executemany("INSERT INTO wanted VALUES (?, ?, ?, ?, ?)", self._buffer)
            self._buffer.clear()

    def _write(self, rows: Iterable[tuple[str, str, str, str | None]]) -> None:
        with self._transaction():
            self._insert(rows)

    def _insert(self, rows: Iterable[tuple[str, str, str, str | None]]) -> None:
        now = self._clock()
        self._db.executemany("INSERT OR REPLACE INTO judged VALUES (?, ?, ?, ?, ?)", ((*row, now) for row in rows))

    def _drop(self) -> None:
        self._db.execute("DELETE FROM list")
        self._db.execute("DELETE FROM listed")

    def _value(self, statement: str, values: dict[str, float] | None = None) -> int:
        (row,) = self._rows(statement, values or {})
        return int(row[0])

    def _rows(self, statement: str, values: dict[str, float] | tuple[str, ...] = ()) -> Iterator[tuple[Any, ...]]:
        with self._one_line_errors():
            yield from self._db.execute(statement, values)

    @contextmanager
    def _transaction(self, begin: str = "BEGIN IMMEDIATE") -> Iterator[None]:
        with self._one_line_errors():
            self._db.execute(begin)
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                raise

    @contextmanager
    def _one_line_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise CampaignError(f"{self._path} is in use by another check: wait until it ends") from error
            cure = "check the disk's space and permissions"
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                cure = "move it away; what it knows is paid for again then"
            raise CampaignError(f"{self._path} can't be used ({error}): {cure}") from error
        except OSError as error:
            raise CampaignError(f"{self._path} can't be made ({error.strerror or error}): check its folder") from error


def _told(found: Validation) -> tuple[str, str, str | None]:
    status = _plain(found.status).lower().replace("-", "_").replace(" ", "_")
    return status or "unknown", _plain(found.sub_status), _plain(found.did_you_mean or "") or None


def _plain(text: str) -> str:
    return CONTROL.sub(" ", text).strip()[:_LONGEST]
