"""The message store: SQLite, in memory or in a file, written by the server's thread and read by the user's."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sandbox_message (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    to_     TEXT NOT NULL,  -- folded, to be searched
    subject TEXT NOT NULL,  -- folded, to be searched
    summary TEXT NOT NULL,  -- JSON: one row of the inbox
    fields  TEXT NOT NULL   -- JSON: the request's fields, credentials blacked out
)
"""
_FOUND = "FROM sandbox_message WHERE instr(to_, :to) AND instr(subject, :subject)"


class MessageStore:
    """Accepted messages in the order of their arrival; duplicates are kept like any other.

    In memory it lives as long as the object. A file is held, exclusively, only between `open` and `close`; it can be
    read before and after that too.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._db = self._connect() if path is None else None

    def open(self) -> None:
        """Take hold of the file.

        Raises:
            CampaignError: it can't be used as a message store, or another sandbox holds it.
        """
        with self._lock:
            if self._db is None:
                self._db = self._connect()

    def close(self, *, forget: bool = False) -> None:
        """Let go of the file; of a store in memory only to `forget` it."""
        with self._lock:
            if self._db is not None and (self._path is not None or forget):
                self._db.close()
                self._db = None

    def add(self, summary: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        """Keep a message, durably once this returns."""
        row = (summary["to"].casefold(), summary["subject"].casefold(), json.dumps(summary), json.dumps(fields))
        with self._use() as db, db:
            db.execute("INSERT INTO sandbox_message (to_, subject, summary, fields) VALUES (?, ?, ?, ?)", row)

    def count(self, *, to: str = "", subject: str = "") -> int:
        """How many messages have these texts, in any letter case, in `to` and in the subject."""
        with self._use() as db:
            found = db.execute(f"SELECT count(*) {_FOUND}", _search(to, subject)).fetchone()
        return int(found[0])

    def summaries(
        self, *, to: str = "", subject: str = "", limit: int | None = None, offset: int = 0
    ) -> list[dict[str, Any]]:
        """One inbox row for each message found, oldest first."""
        sql = f"SELECT id, summary {_FOUND} ORDER BY id LIMIT :limit OFFSET :offset"
        page = {"limit": -1 if limit is None else limit, "offset": offset}
        with self._use() as db:
            rows = db.execute(sql, _search(to, subject) | page).fetchall()
        return [{"id": number, **json.loads(summary)} for number, summary in rows]

    def get(self, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A message's inbox row and its fields; None if there is none of that id."""
        with self._use() as db:
            row = db.execute("SELECT summary, fields FROM sandbox_message WHERE id = ?", (number,)).fetchone()
        return ({"id": number, **json.loads(row[0])}, json.loads(row[1])) if row else None

    def clear(self) -> None:
        """Forget every message. Ids go on rising."""
        with self._use() as db, db:
            db.execute("DELETE FROM sandbox_message")

    @contextmanager
    def _use(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._db is not None:
                yield self._db
                return
            with closing(self._connect()) as db:
                yield db

    def _connect(self) -> sqlite3.Connection:
        if self._path is None:
            db = sqlite3.connect(":memory:", check_same_thread=False)
            db.execute(_SCHEMA)
            return db
        try:
            return _connect_file(self._path)
        except (OSError, sqlite3.Error) as error:
            hint = "another sandbox holds it" if "locked" in str(error) else str(error)
            raise CampaignError(f"{self._path}: can't be used as the sandbox's message store: {hint}") from error


def _connect_file(path: Path) -> sqlite3.Connection:
    path.touch(mode=0o600)  # it will hold people's messages
    db = sqlite3.connect(path, timeout=0, check_same_thread=False)
    try:
        # One connection: SQLite 3.40's WAL can lose a reset with two, and two sandboxes must not share an inbox.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")  # what is kept survives the process; the machine's crash may take it
        with db:
            db.execute(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _search(to: str, subject: str) -> dict[str, Any]:
    return {"to": to.casefold(), "subject": subject.casefold()}
