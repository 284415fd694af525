"""A journal's files: how one comes into being, what would tell that a part of it is gone, and how to copy it in use.

`receipts.journal.db` doesn't stand alone while it is open: SQLite's `-wal` holds the newest commits, and `-mark` says
how many POSTs they must tell of.
"""

from __future__ import annotations

import errno
import logging
import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from turbobatch.errors import JournalError
from turbobatch.journal.failures import RESTORE, damaged, one_line_errors

if TYPE_CHECKING:
    from collections.abc import Callable

_SIDES = ("-wal", "-mark", "-journal")
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
_WAL_HEADER = 32  # bytes; its salts change whenever the log begins anew (SQLite's file format, section 4.1)
_SMALLEST_PAGE = 512  # bytes
_SMALLEST_WAL = _WAL_HEADER + 24 + _SMALLEST_PAGE  # a header and a frame
_OTHERS = 0o077
_COPIES = 50  # tries
_BETWEEN = 0.02  # seconds from try to try


def beside(path: Path, side: str) -> Path:
    """The file that belongs to a journal and is called like it with `side` (such as "-wal") at the end."""
    return path.with_name(path.name + side)


def size(path: Path) -> int:
    """In bytes; 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def is_there(path: Path) -> bool:
    """Whether there is a journal.

    Raises:
        JournalError: it is empty, or gone while what belongs to it is still there, or its name can't be a file's.
    """
    with one_line_errors(path):
        if path.exists():
            if path.is_file() and size(path) < _SMALLEST_PAGE:
                raise damaged(path, "it is empty or cut")  # to SQLite it would be a new file
            return True
        left = next((side for side in _SIDES if beside(path, side).exists()), None)
    if left is not None:
        raise JournalError(
            f"journal {path} is gone, but {path.name}{left} is still there: {RESTORE}. "
            "Remove that file too if nothing was sent"
        )
    return False


def check_folder(path: Path) -> None:
    """Make sure that a journal could be made: an OSError if not."""
    tempfile.TemporaryFile(dir=path.parent).close()


def make_whole(path: Path, image: Callable[[], bytes]) -> None:
    """Put a journal at `path` in one step, complete and private, unless there is one.

    A kill leaves it whole or not there. So an empty file is never a new journal: it is one that has lost everything.
    """
    if is_there(path):
        return
    content = image()
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        _fill(handle, content)
        with suppress(FileExistsError):  # another process was faster
            try:
                os.link(name, path)
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                # FAT and some network drives: a kill right here leaves half a file, which is refused later.
                _fill(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), content)
    finally:
        Path(name).unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def make_private(path: Path) -> None:
    """Take away what others may do with a journal and its log; where that can't be done, say so."""
    for item in (path, beside(path, "-wal")):
        with suppress(FileNotFoundError):
            if item.stat().st_mode & _OTHERS:
                with suppress(PermissionError):
                    item.chmod(stat.S_IRUSR | stat.S_IWUSR)
                if item.stat().st_mode & _OTHERS:
                    _tell_loose(path)


class Mark:
    """The number of POSTs that a journal in use must tell of, in a file of its own.

    After a kill the newest commits are in `-wal` alone, and SQLite takes a log that is gone, emptied or cut for one
    that had no more to say. The mark knows better. It is written after each commit and never synced: that costs
    microseconds, a kill can't undo it, and after a loss of power it may say less than is true, never more.
    """

    def __init__(self, path: Path) -> None:
        self._path = beside(path, "-mark")
        self._handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        self._has_warned = False
        with suppress(ImportError, OSError):  # a hint to who looks, no more: SQLite's own lock keeps others away
            import fcntl

            fcntl.flock(self._handle, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def write(self, posts: int) -> None:
        """Replace the number, in one write of one length."""
        os.pwrite(self._handle, b"%020d\n" % posts, 0)

    def follow(self, posts: int) -> None:
        """The same after a commit, which stands whatever becomes of the mark: a fault is one warning."""
        try:
            self.write(posts)
        except OSError as error:
            if not self._has_warned:
                _tell_behind(self._path, error)
            self._has_warned = True

    def close(self, *, remove: bool) -> None:
        """Let go of it; remove it where the journal needs no log any more."""
        os.close(self._handle)
        if remove:
            self._path.unlink(missing_ok=True)


def marked(path: Path) -> int | None:
    """What the mark says; None where there is none, or no number in it (after a loss of power)."""
    try:
        text = beside(path, "-mark").read_bytes().strip()
    except FileNotFoundError:
        return None
    return int(text) if text.isdigit() else None


def is_in_use(path: Path) -> bool:
    """Whether some process seems to have the journal open to write; a killed one has not."""
    try:
        import fcntl

        with beside(path, "-mark").open("rb") as mark:
            fcntl.flock(mark, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):  # there is none, or the system knows no such locks
        pass
    return False


def log_is_there(path: Path) -> bool:
    """Whether the log has anything in it at all; a log that a kill leaves behind never shrinks."""
    return size(beside(path, "-wal")) >= _SMALLEST_WAL


def was_left_open(path: Path) -> bool:
    """Whether somebody has it open, or never closed it."""
    return log_is_there(path) or beside(path, "-mark").exists()


def copy(path: Path, to: Path) -> int | None:
    """Copy a journal that another process may be writing, and its log, as they are together at one moment.

    Between two beginnings of the log, the main file changes only by what the log holds too. So both copies fit together
    if the log hasn't begun anew from before the first until after the second. Returns what the mark said before.

    Raises:
        JournalError: the log begins anew faster than it can be copied.
    """
    for _ in range(_COPIES):
        with suppress(FileNotFoundError):  # the log, when its writer closes it
            before, said = _generation(path), marked(path)
            shutil.copyfile(path, to)
            beside(to, "-wal").unlink(missing_ok=True)
            if beside(path, "-wal").exists():
                shutil.copyfile(beside(path, "-wal"), beside(to, "-wal"))
            if _generation(path) == before:
                return said
        time.sleep(_BETWEEN)
    raise JournalError(f"journal {path} is being written too fast to be read: try again in a moment")


def _generation(path: Path) -> tuple[object, ...]:
    """What changes whenever the log begins anew; without a log, whenever the main file does."""
    with suppress(FileNotFoundError), beside(path, "-wal").open("rb") as log:
        if header := log.read(_WAL_HEADER):
            return os.fstat(log.fileno()).st_ino, header
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _fill(handle: int, content: bytes) -> None:
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _tell_behind(mark: Path, error: OSError) -> None:
    said = "warning: %s can't be written (%s): the journal is whole, but a loss of its log may go unnoticed"
    logging.getLogger("turbobatch").error(said, mark, error.strerror or error)


@cache
def _tell_loose(path: Path) -> None:
    logging.getLogger("turbobatch").error(
        "warning: journal %s may be read by others and belongs to another user: let them chmod it to 600", path
    )
