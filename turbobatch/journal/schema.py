"""A journal's tables and statements, and what a new one's file holds."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from turbobatch.journal.named import statements

if TYPE_CHECKING:
    from pathlib import Path

SCHEMA_VERSION = 2
APPLICATION_ID = 0x74626A6C  # "tbjl": tells a journal from any other SQLite file
_LOCK_WAIT = 1.0  # seconds; long enough for another command to finish, too short to look hung


def connect(path: Path | str) -> sqlite3.Connection:
    """Open a database that waits a moment for a lock, and commits only when it is told to."""
    return sqlite3.connect(path, timeout=_LOCK_WAIT, isolation_level=None, check_same_thread=False)


def make_tables(database: sqlite3.Connection, campaign: str) -> None:
    """Make a new journal of `campaign` of an empty database."""
    for statement in sql("schema").split(";\n"):
        database.execute(statement)
    database.execute(sql("insert_campaign"), (campaign,))
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def image(campaign: str) -> bytes:
    """A new journal's file."""
    database = connect(":memory:")
    try:
        make_tables(database, campaign)
        content = bytearray(database.serialize())
    finally:
        database.close()
    content[18:20] = b"\x02\x02"  # in WAL mode from the first moment (SQLite's file format, section 1.3.3)
    return bytes(content)


def sql(name: str) -> str:
    """A statement of sqlite.sql by its name."""
    return statements("sqlite.sql")[name]
