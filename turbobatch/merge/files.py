"""The campaign's folder: what templates and attachments may read, and nothing else."""

from __future__ import annotations

import hashlib
import os
import stat
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

MEBIBYTE = 1024 * 1024
MAX_FILE = 32 * MEBIBYTE
"""Bytes; more than either API takes in one email."""

_CACHED = 64 * MEBIBYTE


class FileError(Exception):
    """A file can't be used. `reason` follows the file's name in a sentence, `cure` says what to do."""

    def __init__(self, reason: str, cure: str) -> None:
        self.reason = reason
        self.cure = cure
        super().__init__(f"{reason}; {cure}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file's name, content and SHA-256."""

    name: str
    content: bytes = field(repr=False)
    digest: str


class Folder:
    """Reads regular files below one folder; symlinks count as what they point to.

    Files are kept while they don't change, so that the logo isn't read again for each row.

    Attributes:
        included: the files that templates have included, extended or imported so far.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))
        self.included: set[Path] = set()
        self._files: OrderedDict[tuple[str, int, int], StoredFile] = OrderedDict()
        self._size = 0

    def locate(self, relative: str) -> str:
        """Find the real path of a file below the folder.

        Raises:
            FileError: the path leads out of the folder.
        """
        if "\0" in relative:
            raise FileError("holds a NUL character", "correct the path")
        if os.path.isabs(relative):  # noqa: PTH117 - a template's text, not yet a path
            raise FileError("is an absolute path", "give a path relative to the campaign's folder")
        try:
            path = os.path.realpath(self.root / relative)
        except (OSError, ValueError) as error:
            raise FileError("is no usable path", "correct the path") from error
        if not Path(path).is_relative_to(self.root):
            raise FileError("lies outside the campaign's folder", "move the file into the folder")
        return path

    def read(self, relative: str) -> StoredFile:
        """Read a file below the folder.

        Raises:
            FileError: it lies outside, is missing, no regular file, too large or unreadable.
        """
        path = self.locate(relative)
        info = _regular(path)
        key = (path, info.st_mtime_ns, info.st_size)
        if key in self._files:
            self._files.move_to_end(key)
            return self._files[key]
        content = read_regular(path)
        stored = StoredFile(Path(relative).name, content, hashlib.sha256(content).hexdigest())
        self._keep(key, stored)
        return stored

    def _keep(self, key: tuple[str, int, int], stored: StoredFile) -> None:
        self._files[key] = stored
        self._size += len(stored.content)
        while self._size > _CACHED:
            _, dropped = self._files.popitem(last=False)
            self._size -= len(dropped.content)


def read_text(path: str | Path) -> str:
    """Read a template file: UTF-8, with or without a byte order mark.

    Raises:
        FileError: it is missing, no regular file, too large, unreadable or not UTF-8.
    """
    try:
        return read_regular(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"is not UTF-8 text (byte {error.start})", "save the file as UTF-8") from error


def read_regular(path: str | Path) -> bytes:
    """Read a regular file; anything else (a pipe, a device, a directory) is refused without waiting for it.

    Raises:
        FileError: it is missing, no regular file, too large or unreadable.
    """
    _regular(path)
    try:
        # Without O_NONBLOCK, a pipe that took the file's place since would hang the campaign.
        with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as stream:  # noqa: PTH123 - by descriptor
            return stream.read(MAX_FILE)
    except OSError as error:
        raise _unreadable(error) from error


def _regular(path: str | Path) -> os.stat_result:
    try:
        info = os.stat(path)  # noqa: PTH116 - once per attachment and row
    except (OSError, ValueError) as error:
        raise _unreadable(error) from error
    if stat.S_ISDIR(info.st_mode):
        raise FileError("is a directory", "name a file")
    if not stat.S_ISREG(info.st_mode):
        raise FileError("is no regular file", "name a regular file")
    if info.st_size > MAX_FILE:
        raise FileError(f"of {info.st_size / MEBIBYTE:.1f} MB is over {MAX_FILE // MEBIBYTE} MB", "make it smaller")
    return info


def _unreadable(error: OSError | ValueError) -> FileError:
    if isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return FileError("not found", "put the file there")
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return FileError(f"can't be read ({reason})", "make it readable")
