"""The journal in one SQLite file: WAL, synchronous=FULL, mode 0600, one connection that keeps the file to itself.

Exclusive locking is on purpose: it refuses a second process, and SQLite before 3.51.3 has a bug in resetting the WAL
with two or more connections. Who only looks gets a private copy.
"""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from turbobatch.errors import JournalError
from turbobatch.journal.entries import bound, entries_of, is_time, status_of
from turbobatch.journal.failures import damaged, one_line_errors
from turbobatch.journal.files import (
    Mark,
    beside,
    check_folder,
    copy,
    is_in_use,
    is_there,
    log_is_there,
    make_private,
    make_whole,
    marked,
    size,
    was_left_open,
)
from turbobatch.journal.protocol import Intent, Outcome
from turbobatch.journal.schema import APPLICATION_ID, SCHEMA_VERSION, connect, image, make_tables, sql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from turbobatch.journal.protocol import Entry
    from turbobatch.policy import Status
OPEN: dict[Path, SqliteJournal] = {}
OPEN_LOCK = threading.RLock()


def open_journal(path: Path, campaign: str, *, make: bool = True) -> SqliteJournal:
    """Open the journal of `campaign`; while it is open, every caller in this process shares it.

    One that isn't there is made, or else, without `make`, is taken for empty if it could be made.

    Raises:
        JournalError: it belongs to another campaign, is in use by another process, isn't a journal, is damaged or not
            whole, or can't be read and written.
    """
    path = path.resolve()
    with OPEN_LOCK:
        journal = OPEN.get(path)
        if journal is None:
            if not make and not is_there(path):
                with one_line_errors(path):
                    check_folder(path)
                return SqliteJournal()
            journal = OPEN[path] = SqliteJournal(path, campaign)
        else:
            journal.check_campaign(campaign)
        journal.users += 1
    return journal


def read_journal(path: Path, campaign: str) -> SqliteJournal:
    """Look at a journal as it is now, whoever writes it, without holding anybody up.

    Within the process that has it open, that one is shared. A journal that isn't there reads as an empty one, and
    isn't made: without it nothing has been sent.

    Raises:
        JournalError: as `open_journal`, but for being in use.
    """
    path = path.resolve()
    # Locked, since to close any handle of a file drops what locks this process has on it (POSIX).
    with OPEN_LOCK:
        if (journal := OPEN.get(path)) is not None:
            journal.check_campaign(campaign)
            journal.users += 1
            return journal
        return JournalCopy(path, campaign) if is_there(path) else SqliteJournal()


class SqliteJournal:
    """A Journal in a file, or in memory without one. Open a file with `open_journal`; `with` closes it."""

    def __init__(self, path: Path | None = None, campaign: str = "") -> None:
        self.path = path
        self.campaign = campaign
        self.users = 0
        self._lock = threading.RLock()
        self._mark: Mark | None = None
        self._posts = 0
        with one_line_errors(path):
            if path is not None:
                make_whole(path, lambda: image(campaign))
                if was_left_open(path):
                    # SQLite would write a log that is cut or old into the main file even where it's refused then.
                    JournalCopy(path, campaign).close()
            self._db = connect(path or ":memory:")
            self._file: tuple[int, int] | None = _identity(path)
        try:
            with one_line_errors(path):
                if path is not None:
                    self._take(path)
                else:
                    make_tables(self._db, campaign)
        except BaseException:
            self._db.close()
            raise

    @property
    def in_use(self) -> bool:
        """Whether another user seems to write it: a run in progress."""
        return self.users > 1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def check_campaign(self, campaign: str) -> None:
        """Make sure that this is the journal of `campaign`.

        Raises:
            JournalError: it belongs to another.
        """
        if campaign != self.campaign:
            raise JournalError(
                f"{self.path} is the journal of campaign {self.campaign!r}, not of {campaign!r}: "
                "name another with --journal (journal=)"
            )

    def commit(self, intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> Mapping[str, Entry]:
        """Make all of them durable in one transaction, outcomes first; nobody else can have claimed a key."""
        if not intents and not outcomes:
            return {}
        if intents:
            self.check()
        with self._transaction():
            self._execute_each("conclude", [bound(item) for item in outcomes if item.posted])
            self._db.executemany(sql("note"), [bound(item) for item in outcomes if not item.posted])
            claims = [{name: getattr(item, name) for name in Intent.__slots__} for item in intents]
            self._execute_each("claim", claims)
            self._db.executemany(sql("insert_post"), claims)
        if self._mark is not None and intents:
            self._posts += len(intents)
            self._mark.follow(self._posts)
        return {}

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
            rows = self._db.execute(sql("lookup"), (json.dumps(list(keys)),)).fetchall()
        return {entry.key: entry for entry in entries_of(rows, self.path)}

    def entries(self, status: Status) -> Iterator[Entry]:
        """Everything with this status, in the order of keys."""
        last = ""
        while True:
            with self._reading():
                rows = self._db.execute(sql("entries"), (status, last)).fetchall()
            if not rows:
                return
            yield from entries_of(rows, self.path)
            last = rows[-1][0]

    def counts(self) -> dict[Status, int]:
        """Keys by status."""
        with self._reading():
            return {status_of(text, self.path): count for text, count in self._db.execute(sql("counts"))}

    def post_times(self, since: float, now: float) -> list[float]:
        """When POSTs began, after `since`, ascending; seconds since the epoch.

        A POST of a clock that was ahead lies in the future. It counts as made when it was first found there.
        """
        with self._transaction():
            self._db.execute(sql("see_future"), {"now": now})
            found = [at for (at,) in self._db.execute(sql("post_times"), {"since": since, "now": now})]
        if not all(map(is_time, found)):
            raise damaged(self.path, "a POST's time is none")
        return found

    def post_spans(self, keys: Iterable[str]) -> dict[str, tuple[float, float]]:
        """When the first and the last POST of each of these keys began; seconds since the epoch, as the clock said."""
        with self._reading():
            rows = self._db.execute(sql("post_spans"), (json.dumps(list(keys)),)).fetchall()
        return {key: (first, last) for key, first, last in rows if is_time(first) and is_time(last)}

    def unaccounted(self, since: float, until: float) -> list[Entry]:
        """Keys, not in doubt, of which a POST begun in this time may have left an email whose message id isn't known.

        Those that were settled by hand, or posted more than once.
        """
        with self._reading():
            rows = self._db.execute(sql("unaccounted"), {"since": since, "until": until}).fetchall()
        return entries_of(rows, self.path)

    def known_mids(self, mids: Iterable[str]) -> set[str]:
        """Those of these message ids that an email in the journal has."""
        with self._reading():
            return {mid for (mid,) in self._db.execute(sql("known_mids"), (json.dumps(list(mids)),))}

    def settle(self, keys: Iterable[str] | None, status: Status, message: str, time: float) -> int:
        """Settle rows in doubt by hand (all of them if `keys` is None); tells how many there were."""
        self.check()
        values = {"status": status, "message": message, "time": time}
        with self._transaction():
            if keys is None:
                return self._db.execute(sql("settle_all"), values).rowcount
            return self._db.executemany(sql("settle"), [{**values, "key": key} for key in keys]).rowcount

    def close(self) -> None:
        """Let go of it; the last user in this process closes the file."""
        with OPEN_LOCK:
            self.users -= 1
            if self.users > 0:
                return
            if self.path is not None and OPEN.get(self.path) is self:
                if not self._is_in_place():
                    return  # it stays open in this process: nothing else knows any more what was sent
                del OPEN[self.path]
        with self._lock, one_line_errors(self.path):
            self._let_go()

    def _is_in_place(self) -> bool:
        if self._file is None:  # in memory, or a copy that nobody writes
            return True
        try:
            return _identity(self.path) == self._file
        except OSError:
            return False

    def _let_go(self) -> None:
        clean = False
        if self._mark is not None:
            with suppress(sqlite3.Error):  # a full disk, say: then it stays marked as open, and needs its log
                self._db.execute(sql("set_open"), (0,))
                clean = True
        self._db.close()
        if self._mark is not None and self.path is not None:
            self._mark.close(remove=clean and self.path.exists() and not beside(self.path, "-wal").exists())
            self._mark = None

    def _take(self, path: Path) -> None:
        """Lock the file, make sure that it is the whole journal of this campaign, and mark it as open."""
        for pragma in ("locking_mode = EXCLUSIVE", "synchronous = FULL", "temp_store = MEMORY"):
            self._db.execute(f"PRAGMA {pragma}")
        with self._transaction():
            self._verify()
            self._check_whole(marked(path), has_log=log_is_there(path), length=size(path))
        # Only now, as these change the file for good: another program's database must stay as it is.
        make_private(path)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(sql("set_open"), (1,))
        # Into the main file, which outlives the log. The log keeps its length: from now on, one without any is a loss.
        self._db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        self._mark = Mark(path)
        self._mark.write(self._posts)

    def _verify(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if self._db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise JournalError(f"{self.path} is no journal: name another file with --journal (journal=)")
        if version > SCHEMA_VERSION:
            raise JournalError(f"{self.path} was written by a newer turbobatch: upgrade to go on with it")
        if 0 < version < SCHEMA_VERSION:
            raise JournalError(
                f"{self.path} was written by an older, unreleased turbobatch: go on with that one, or name another "
                "file with --journal (journal=); without this one rows could go out twice"
            )
        if version != SCHEMA_VERSION:
            raise damaged(self.path, f"it has version {version}")
        names = [name for (name,) in self._db.execute(sql("select_campaign"))]
        if len(names) != 1:
            raise damaged(self.path, "it doesn't say whose it is")
        asked, self.campaign = self.campaign, names[0]
        self.check_campaign(asked)

    def _check_whole(self, said: int | None, *, has_log: bool, length: int) -> None:
        """Refuse a journal that has lost its newest commits, or its end. `length`: of the main file, in bytes."""
        self._posts, is_open = self._db.execute(sql("select_state")).fetchone()
        # Without a mark (a copy, a loss of power) only a log that is gone altogether can be told.
        if self._posts < said if said is not None else is_open and not has_log:
            # SQLite's own backup of a journal in use looks the same: complete, without a log, and marked as open.
            command = shlex.join(["sqlite3", str(self.path), sql("set_open").replace("?;", "0")])
            complete = f"; if it is a complete backup made by SQLite, say so: {command}" if said is None else ""
            raise JournalError(
                f"journal {self.path} has lost its newest entries: its -wal file is missing, cut "
                f"or old; restore that; without it rows could go out twice{complete}"
            )
        pages, bytes_each = (self._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
        if not has_log and length < pages * bytes_each:
            raise damaged(self.path, "its end is missing")

    def _execute_each(self, name: str, values: list[dict[str, Any]]) -> None:
        changed = self._db.executemany(sql(name), values).rowcount if values else 0
        if changed != len(values):
            keys = ", ".join(repr(item["key"]) for item in values[:3])
            raise JournalError(
                f"{self.path} contradicts this run ({name} of {keys}{' …' if len(values) > 3 else ''}): "  # noqa: PLR2004 - as many keys as are named
                "nothing new was posted; run the same command again"
            )

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with self._lock, one_line_errors(self.path):
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


class JournalCopy(SqliteJournal):
    """What a journal says at one moment, for those who only look."""

    def __init__(self, path: Path, campaign: str) -> None:
        self.path = path
        self.campaign = campaign
        self.users = 0
        self._lock = threading.RLock()
        self._mark = None
        self._file = None
        # The folder is gone, even after a kill, once SQLite has the files open: it needs their names no more.
        with one_line_errors(path, reading=True), tempfile.TemporaryDirectory(prefix="turbobatch-") as folder:
            own = Path(folder).resolve() / "copy.db"
            before = is_in_use(path)
            said = copy(path, own)
            self._in_use = before or is_in_use(path)
            self._db = connect(own)
            try:
                self._open(said, own)
            except BaseException:
                self._db.close()
                raise

    @property
    def in_use(self) -> bool:
        """Whether another process seemed to write it when it was copied."""
        return self._in_use

    def _open(self, said: int | None, own: Path) -> None:
        has_log, length = log_is_there(own), size(own)
        for pragma in ("locking_mode = EXCLUSIVE", "temp_store = MEMORY"):
            self._db.execute(f"PRAGMA {pragma}")
        self._verify()
        self._check_whole(said, has_log=has_log, length=length)
        # Copied in use, or after a kill: worth a second per million rows. One that was closed is read as it is.
        if has_log and (found := self._db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise damaged(self.path, found)
        self._db.execute("PRAGMA query_only = ON")


def _identity(path: Path | None) -> tuple[int, int] | None:
    """What tells a file from another that has its name later; some microseconds."""
    if path is None:
        return None
    found = os.stat(path)  # noqa: PTH116 - half the time of Path.stat, before every commit
    return found.st_dev, found.st_ino
