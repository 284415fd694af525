"""The message store: SQLite, in memory or in a file, written by the server's thread and read by the user's."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from turbobatch.errors import CampaignError
from turbobatch.sandbox.inbox.badges import Badge

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from turbobatch.sandbox.inbox.entry import Entry

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sandbox_message (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    to_     TEXT NOT NULL,  -- folded, to be searched
    subject TEXT NOT NULL,  -- folded, to be searched
    summary TEXT NOT NULL,  -- JSON: one row of the inbox
    fields  TEXT NOT NULL   -- JSON: the request's fields, credentials blacked out
);
-- What the inbox page lists and searches, apart from the messages: a search passes over every row.
CREATE TABLE IF NOT EXISTS sandbox_listing (
    id       INTEGER PRIMARY KEY,  -- the message's
    campaign TEXT NOT NULL,        -- '' for none, as are the others
    fault    TEXT NOT NULL,        -- what spoiled its answer
    badges   TEXT NOT NULL,        -- ',one,other,'
    key      BLOB NOT NULL,        -- the same for messages that a row may not cause twice
    line     TEXT NOT NULL         -- JSON: one line of the list
);
CREATE INDEX IF NOT EXISTS sandbox_listing_campaign ON sandbox_listing (campaign);
CREATE INDEX IF NOT EXISTS sandbox_listing_key ON sandbox_listing (key);
CREATE INDEX IF NOT EXISTS sandbox_listing_fault ON sandbox_listing (fault) WHERE fault <> '';
CREATE INDEX IF NOT EXISTS sandbox_listing_badges ON sandbox_listing (badges) WHERE badges <> '';
CREATE TABLE IF NOT EXISTS sandbox_words (
    id    INTEGER PRIMARY KEY,  -- the message's
    words TEXT NOT NULL         -- folded, to be searched
);
-- The last requests that were not accepted.
CREATE TABLE IF NOT EXISTS sandbox_refusal (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    campaign TEXT NOT NULL,
    fault    TEXT NOT NULL,  -- what kept it from being accepted; '' where the API refused it
    badges   TEXT NOT NULL,
    line     TEXT NOT NULL,
    words    TEXT NOT NULL,
    fields   TEXT NOT NULL   -- JSON, as a message's, long texts shortened
);
"""
REFUSALS = 1000
"""How many requests that were not accepted are kept."""

_KEY = "SELECT 1 FROM sandbox_listing WHERE key = ?"
_LIST = "INSERT INTO sandbox_listing (id, campaign, fault, badges, key, line) VALUES (?, ?, ?, ?, ?, ?)"
_REFUSE = "INSERT INTO sandbox_refusal (campaign, fault, badges, line, words, fields) VALUES (?, ?, ?, ?, ?, ?)"
_CLEAR = (
    "DELETE FROM sandbox_message",
    "DELETE FROM sandbox_listing",
    "DELETE FROM sandbox_words",
    "DELETE FROM sandbox_refusal",
)
# Taken out of the JSON by SQLite: the texts, most of it, need not be read.
_ENVELOPES = """
SELECT id, json_extract(summary, '$.mid', '$.time', '$.subject', '$.sender', '$.to', '$.cc', '$.bcc', '$.campaign_id')
FROM sandbox_message WHERE id > ? ORDER BY id LIMIT ?
"""
_FOUND = "FROM sandbox_message WHERE instr(to_, :to) AND instr(subject, :subject)"


class Envelope(NamedTuple):
    """An accepted message without its content; address lists as texts."""

    number: int
    mid: str
    time: str
    subject: str
    sender: str
    to: str
    cc: str
    bcc: str
    campaign_id: str | None


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

    def add(self, summary: Mapping[str, Any], fields: Mapping[str, Any], entry: Entry) -> None:
        """Keep a message, durably once this returns."""
        row = (summary["to"].casefold(), summary["subject"].casefold(), json.dumps(summary), json.dumps(fields))
        with self.use() as db, db:
            added = db.execute("INSERT INTO sandbox_message (to_, subject, summary, fields) VALUES (?, ?, ?, ?)", row)
            _list(db, added.lastrowid, entry)

    def add_refusal(self, fields: Mapping[str, Any], entry: Entry) -> None:
        """Keep a request that was not accepted; only the last ones stay."""
        row = (entry.campaign, entry.fault, _joined(entry.badges), json.dumps(entry.line), entry.words)
        with self.use() as db, db:
            added = db.execute(_REFUSE, (*row, json.dumps(fields)))
            db.execute("DELETE FROM sandbox_refusal WHERE id <= ? - ?", (added.lastrowid, REFUSALS))

    def unlisted(self) -> list[int]:
        """The messages that an earlier version has left in the file without an entry."""
        with self.use() as db:
            sql = "SELECT id FROM sandbox_message WHERE id NOT IN (SELECT id FROM sandbox_listing) ORDER BY id"
            return [number for (number,) in db.execute(sql)]

    def enlist(self, number: int, entry: Entry) -> None:
        """Give a message that is kept already its entry."""
        with self.use() as db, db:
            _list(db, number, entry)

    def count(self, *, to: str = "", subject: str = "") -> int:
        """How many messages have these texts, in any letter case, in `to` and in the subject."""
        # Of all messages there is a smaller table to count.
        sql = f"SELECT count(*) {_FOUND}" if to or subject else "SELECT count(*) FROM sandbox_listing"
        with self.use() as db:
            found = db.execute(sql, _search(to, subject) if to or subject else {}).fetchone()
        return int(found[0])

    def summaries(
        self, *, to: str = "", subject: str = "", limit: int | None = None, offset: int = 0
    ) -> list[dict[str, Any]]:
        """One inbox row for each message found, oldest first."""
        sql = f"SELECT id, summary {_FOUND} ORDER BY id LIMIT :limit OFFSET :offset"
        page = {"limit": -1 if limit is None else limit, "offset": offset}
        with self.use() as db:
            rows = db.execute(sql, _search(to, subject) | page).fetchall()
        return [{"id": number, **json.loads(summary)} for number, summary in rows]

    def envelopes(self, after: int, limit: int) -> list[Envelope]:
        """The first messages that came after an id, oldest first."""
        with self.use() as db:
            rows = db.execute(_ENVELOPES, (after, limit)).fetchall()
        return [Envelope(number, *json.loads(found)) for number, found in rows]

    def get(self, number: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """A message's inbox row and its fields; None if there is none of that id."""
        with self.use() as db:
            row = db.execute("SELECT summary, fields FROM sandbox_message WHERE id = ?", (number,)).fetchone()
        return ({"id": number, **json.loads(row[0])}, json.loads(row[1])) if row else None

    def clear(self) -> None:
        """Forget every message and refusal. Ids go on rising."""
        with self.use() as db, db:
            for statement in _CLEAR:
                db.execute(statement)

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """The connection, for as long as the block takes; everybody else waits."""
        with self._lock:
            if self._db is not None:
                yield self._db
                return
            with closing(self._connect()) as db:
                yield db

    def _connect(self) -> sqlite3.Connection:
        if self._path is None:
            db = sqlite3.connect(":memory:", check_same_thread=False)
            db.executescript(_SCHEMA)
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
        db.executescript(_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _list(db: sqlite3.Connection, number: int | None, entry: Entry) -> None:
    is_second = db.execute(_KEY, (entry.key,)).fetchone()
    badges = _joined([*entry.badges, *([Badge.SECOND] if is_second else [])])
    db.execute(_LIST, (number, entry.campaign, entry.fault, badges, entry.key, json.dumps(entry.line)))
    db.execute("INSERT INTO sandbox_words (id, words) VALUES (?, ?)", (number, entry.words))


def _joined(badges: Collection[str]) -> str:
    return f",{','.join(badges)}," if badges else ""


def _search(to: str, subject: str) -> dict[str, Any]:
    return {"to": to.casefold(), "subject": subject.casefold()}
