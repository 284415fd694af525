"""A file that is there whole or not at all: written under a hidden name, synced, renamed."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING

from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary file beside `path` that takes its place, synced, if all goes well.

    It is locked as long as its writer lives: those that killed ones have left are removed.

    Raises:
        CampaignError: the folder can't be written.
    """
    path = target(path)
    try:
        temporary, lock = _locked_temporary(path)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)
        lock.close()


def unwritable(path: Path, error: OSError) -> CampaignError:
    """The system's refusal as one line."""
    return CampaignError(f"{path} can't be written: {error.strerror or error}")


def target(path: Path, *, folder: bool = False) -> Path:
    """The file itself where `path` is a symlink to it, which must stay one; or the folder.

    Raises:
        CampaignError: it is something else, such as a pipe.
    """
    # Not pathlib's methods, which raise for a name that no file can have.
    real = Path(os.path.realpath(path)) if os.path.islink(path) else path  # noqa: PTH114 - Path's would raise
    is_right = os.path.isdir(real) if folder else os.path.isfile(real)  # noqa: PTH112, PTH113 - Path's would raise
    if os.path.exists(real) and not is_right:  # noqa: PTH110 - Path's would raise
        raise CampaignError(f"{path} can't be written: it is no {'folder' if folder else 'regular file'}")
    return real


def hidden(path: Path) -> Path:
    """A name beside `path` that nobody has."""
    return path.with_name(f"{_beginning(path)}{secrets.token_hex(4)}.tmp")


def hidden_beside(path: Path) -> list[Path]:
    """What has such a name."""
    kind = re.compile(re.escape(_beginning(path)) + r"[0-9a-f]{8}\.tmp")
    return [found for found in path.parent.iterdir() if kind.fullmatch(found.name)]


def _beginning(path: Path) -> str:
    return f".{path.name[:60]}."


def _locked_temporary(path: Path) -> tuple[Path, IO[bytes]]:
    """Make the file, locked as long as it is open, and remove those of its kind whose writers are dead."""
    temporary = hidden(path)
    with one_at_a_time(path.parent) as can_lock:
        for found in hidden_beside(path) if can_lock else ():
            _remove_if_free(found)
        return temporary, new_locked(temporary)


def new_locked(path: Path) -> IO[bytes]:
    """A new file, locked as long as it is open."""
    made = path.open("xb")  # not by tempfile, which would keep it from those whom the umask lets read
    lock(made.fileno())
    return made


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[bool]:
    """Hold a folder's lock, or another could find a file that isn't locked yet; tells whether there are such locks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        yield lock(handle, wait=True)
    finally:
        os.close(handle)


def _remove_if_free(path: Path) -> None:
    with suppress(OSError), path.open("rb") as file:
        if lock(file.fileno()):
            path.unlink()


def lock(handle: int, *, wait: bool = False) -> bool:
    """Lock a file for as long as it is open; False if another has it, or the system knows no such locks."""
    try:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        return False
    return True


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
