"""What can go wrong with a journal's files, in one line each."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from turbobatch.errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from turbobatch.journal.place import Place

RESTORE = "restore a copy of it; without it rows could go out twice"


@contextmanager
def one_line_errors(path: Path | None, *, reading: bool = False) -> Iterator[None]:
    """Turn what SQLite and the system raise into a JournalError that says what to do."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if reading and isinstance(error, OSError):
            cure = "check its permissions, and that the temporary folder has room for a copy (TMPDIR names it)"
            raise JournalError(f"journal {path} can't be read ({error.strerror or error}): {cure}") from error
        raise JournalError(_diagnosis(path, error)) from error


def damaged(path: Place | None, what: str) -> JournalError:
    """The error for a journal whose contents can't be trusted."""
    return JournalError(f"journal {path} is damaged or no journal ({what}): {RESTORE}")


def _diagnosis(path: Path | None, error: Exception) -> str:
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "make room on the disk" if full else "check its folder and the permissions there"
        return f"journal {path} can't be made ({error.strerror or error}): nothing is sent without it; {cure}"
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return f"journal {path} is in use by another process: wait until it ends, or stop it with Ctrl-C"
    if code in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT):
        return str(damaged(path, str(error)))
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM):
        return f"journal {path} can't be written ({error}): nothing is sent without it; check its folder's permissions"
    if code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
        cure = "make room on the disk" if code == sqlite3.SQLITE_FULL else "check the disk's space and permissions"
        return f"journal {path} can't be written ({error}): {cure} and run the same command again"
    return f"journal {path} can't be used: {error}"
