"""The journal in one SQLite file: WAL, synchronous=FULL, mode 0600, one connection that keeps the file to itself.

Exclusive locking is on purpose: it refuses a second process, and SQLite before 3.51.3 has a bug in resetting the WAL
with two or more connections.
"""

from __future__ import annotations

import errno
import json
import os
import re
import sqlite3
import threading
from contextlib import contextmanager
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Self

from turbobatch.errors import JournalError
from turbobatch.journal.protocol import Entry, Intent, Outcome
from turbobatch.policy import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x74626A6C  # "tbjl": tells a journal from any other SQLite file
_STATUSES = {str(status): status for status in Status}
_LOCK_WAIT = 1.0  # seconds; long enough for another command to finish, too short to look hung

_open: dict[Path, SqliteJournal] = {}
_open_lock = threading.Lock()


def is_known(path: Path) -> bool:
    """Whether there is such a journal: a file, or one of this process whose file went away while it was in use."""
    path = path.resolve()
    with _open_lock:
        return path in _open or path.exists()


def open_journal(path: Path, campaign: str) -> SqliteJournal:
    """Open the journal of `campaign`; while it is open, every caller in this process shares it.

    Raises:
        JournalError: it belongs to another campaign, is in use by another process, isn't a journal, is damaged,
            or can't be read and written.
    """
    path = path.resolve()
    with _open_lock:
        journal = _open.get(path)
        if journal is None:
            journal = _open[path] = SqliteJournal(path)
        journal.users += 1
    try:
        journal.check_campaign(campaign)
    except JournalError:
        journal.close()
        raise
    return journal


class SqliteJournal:
    """A Journal in a file, or in memory without one. Open a file with `open_journal`; `with` closes it."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.users = 0
        self._lock = threading.RLock()
        with _one_line_errors(path):
            if path is not None:
                _create_private(path)
            self._db = sqlite3.connect(
                path or ":memory:", timeout=_LOCK_WAIT, isolation_level=None, check_same_thread=False
            )
            self._file = _identity(path)
        try:
            with _one_line_errors(path):
                self._prepare()
        except BaseException:
            self._db.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_campaign(self, campaign: str) -> None:
        """Take possession of a new journal for `campaign`, or make sure that this one is its own.

        Raises:
            JournalError: it belongs to another campaign.
        """
        with self._transaction():
            row = self._db.execute(_sql("select_campaign")).fetchone()
            if row is None:
                self._db.execute(_sql("insert_campaign"), (campaign,))
            elif row[0] != campaign:
                raise JournalError(
                    f"{self.path} is the journal of campaign {row[0]!r}, not of {campaign!r}: "
                    "name another with --journal (journal=)"
                )

    def commit(self, intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> None:
        """Make all of them durable in one transaction, outcomes first."""
        if not intents and not outcomes:
            return
        if intents:
            self.check()
        with self._transaction():
            self._execute_each("conclude", [_bound(item) for item in outcomes if item.posted])
            self._db.executemany(_sql("note"), [_bound(item) for item in outcomes if not item.posted])
            claims = [
                {"key": item.key, "digest": item.digest, "time": item.time, "resend": item.resend} for item in intents
            ]
            self._execute_each("claim", claims)
            self._db.executemany(_sql("insert_post"), [{"time": item.time, "key": item.key} for item in intents])

    def check(self) -> None:
        """Make sure that what is committed will be found again.

        Raises:
            JournalError: the file was deleted, moved or replaced while it was open.
        """
        if not self._is_in_place():
            raise JournalError(
                f"journal {self.path} was deleted, moved or replaced while it was in use: nothing more is sent without "
                "it; put the very same file back, since without it emails could go out twice"
            )

    def lookup(self, keys: Iterable[str]) -> dict[str, Entry]:
        """What is known of these keys; unknown ones are absent."""
        with self._reading():
            rows = self._db.execute(_sql("lookup"), (json.dumps(list(keys)),)).fetchall()
        return {row[0]: _entry(row) for row in rows}

    def entries(self, status: Status) -> Iterator[Entry]:
        """Everything with this status, in the order of keys."""
        last = ""
        while True:
            with self._reading():
                rows = self._db.execute(_sql("entries"), (status, last)).fetchall()
            if not rows:
                return
            yield from map(_entry, rows)
            last = rows[-1][0]

    def counts(self) -> dict[Status, int]:
        """Keys by status."""
        with self._reading():
            return {Status(status): count for status, count in self._db.execute(_sql("counts"))}

    def post_times(self, since: float) -> list[float]:
        """When POSTs began, after `since`, ascending; seconds since the epoch."""
        with self._reading():
            return [time for (time,) in self._db.execute(_sql("post_times"), (since,))]

    def settle(self, keys: Iterable[str] | None, status: Status, message: str, time: float) -> int:
        """Settle rows in doubt by hand (all of them if `keys` is None); tells how many there were."""
        self.check()
        values = {"status": status, "message": message, "time": time}
        with self._transaction():
            if keys is None:
                return self._db.execute(_sql("settle_all"), values).rowcount
            return self._db.executemany(_sql("settle"), [{**values, "key": key} for key in keys]).rowcount

    def close(self) -> None:
        """Let go of it; the last user in this process closes the file."""
        with _open_lock:
            self.users -= 1
            if self.users > 0:
                return
            if self.path is not None and _open.get(self.path) is self:
                if not self._is_in_place():
                    return  # it stays open in this process: nothing else knows any more what was sent
                del _open[self.path]
        with self._lock, _one_line_errors(self.path):
            self._db.close()

    def _is_in_place(self) -> bool:
        try:
            return _identity(self.path) == self._file
        except OSError:
            return False

    def _prepare(self) -> None:
        for pragma in ("locking_mode = EXCLUSIVE", "synchronous = FULL", "temp_store = MEMORY"):
            self._db.execute(f"PRAGMA {pragma}")
        with self._transaction():
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            application = self._db.execute("PRAGMA application_id").fetchone()[0]
            is_empty = not self._db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if is_empty:
                for statement in _sql("schema").split(";\n"):
                    self._db.execute(statement)
                self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
                self._db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            elif application != _APPLICATION_ID:
                raise JournalError(f"{self.path} is no journal: name another file with --journal (journal=)")
            elif version > SCHEMA_VERSION:
                raise JournalError(f"{self.path} was written by a newer turbobatch: upgrade to go on with it")
        # Only now, as it changes the file for good: another program's database must stay as it is.
        self._db.execute("PRAGMA journal_mode = WAL")

    def _execute_each(self, name: str, values: list[dict[str, Any]]) -> None:
        changed = self._db.executemany(_sql(name), values).rowcount if values else 0
        if changed != len(values):
            keys = ", ".join(repr(item["key"]) for item in values[:3])
            raise JournalError(
                f"{self.path} contradicts this run ({name} of {keys}{' …' if len(values) > 3 else ''}): "  # noqa: PLR2004
                "nothing new was posted; run the same command again"
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, _one_line_errors(self.path):
            yield

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reading():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


@contextmanager
def _one_line_errors(path: Path | None) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise JournalError(_diagnosis(path, error)) from error


def _diagnosis(path: Path | None, error: Exception) -> str:
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "make room on the disk" if full else "check its folder and the permissions there"
        return f"journal {path} can't be made ({error.strerror or error}): nothing is sent without it; {cure}"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"journal {path} is in use by another process: wait until it ends, or stop it with Ctrl-C"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        cure = "restore a copy of it; without it rows could go out twice"
        return f"journal {path} is damaged or no journal ({error}): {cure}"
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return f"journal {path} can't be written ({error}): nothing is sent without it; check its folder's permissions"
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        cure = "make room on the disk" if code == sqlite3.SQLITE_FULL else "check the disk's space and permissions"
        return f"journal {path} can't be written ({error}): {cure} and run the same command again"
    return f"journal {path} can't be used: {error}"


def _create_private(path: Path) -> None:
    # Made by us before SQLite opens it, so that neither it nor its WAL is ever readable by others.
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _identity(path: Path | None) -> tuple[int, int] | None:
    """What tells a file from another that has its name later; some microseconds."""
    if path is None:
        return None
    found = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, before every commit
    return found.st_dev, found.st_ino


def _bound(outcome: Outcome) -> dict[str, Any]:
    return {
        "key": outcome.key,
        "status": outcome.status,
        "message": _storable(outcome.message),
        "errors": _storable(json.dumps(outcome.errors, ensure_ascii=False)) if outcome.errors else None,
        "mid": None if outcome.mid is None else _storable(outcome.mid),
        "http_status": outcome.http_status,
        "time": outcome.time,
        "seconds": outcome.seconds,
    }


def _storable(text: str) -> str:
    # A foreign text with half a character in it must not make a verdict unwritable.
    return text.encode("utf-8", "replace").decode()


def _entry(row: tuple[Any, ...]) -> Entry:
    key, text, message, errors, *rest = row
    if (status := _STATUSES.get(text)) is None:
        raise JournalError(f"the journal holds {key!r} as {text!r}, which this turbobatch doesn't know: upgrade it")
    return Entry(key, status, message, tuple(json.loads(errors)) if errors else (), *rest)


@cache
def _statements() -> dict[str, str]:
    text = files("turbobatch.journal").joinpath("sqlite.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], (part.strip() for part in parts[1::2]), strict=True))


def _sql(name: str) -> str:
    return _statements()[name]
