"""Which version of a file, or of a folder of files, was opened: all that is read of it must come from that one."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from turbobatch.errors import CampaignError
from turbobatch.recipients.table import file_errors, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class FileVersion:
    """What a file's path led to; every usual way to save a file changes at least one of these.

    Attributes:
        modified: nanoseconds since the epoch.
    """

    path: Path
    device: int
    inode: int
    size: int
    modified: int

    @classmethod
    def of(cls, path: Path, handle: int | None = None) -> Self:
        """Look at the file that the path leads to now, or at the one that was opened as `handle`.

        Raises:
            OSError: there is no such file any more.
        """
        info = os.stat(path if handle is None else handle)  # noqa: PTH116 - Path.stat takes no handle
        return cls(path, info.st_dev, info.st_ino, info.st_size, info.st_mtime_ns)

    def is_current(self) -> bool:
        """Whether the path still leads to this version."""
        try:
            return self == FileVersion.of(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def change(self) -> str | None:
        """What to say where the results of this version, which was sent, are joined with another one."""
        return None if self.is_current() else changed_since(self.path)

    def check(self, handle: int | None = None) -> None:
        """Refuse another version.

        Raises:
            CampaignError: the path, or the open file, is another version.
        """
        with file_errors(self.path):
            same = self.is_current() and (handle is None or self == FileVersion.of(self.path, handle))
        if not same:
            raise CampaignError(f"{one_line(self.path.name)} was changed while it was in use")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read inside is this version's, or counts for nothing: also a fault that was found in it.

        Raises:
            CampaignError: the file was changed since it was opened.
        """
        try:
            yield
        finally:
            self.check()

    def same_elsewhere(self) -> FileVersion:
        """This version as another process finds it, perhaps on another machine, where device and inode are others.

        Raises:
            CampaignError: the file isn't there, or has another size or time of change.
        """
        try:
            found = FileVersion.of(self.path)
        except OSError as error:
            raise CampaignError(f"{one_line(self.path)} can't be read: {one_line(error.strerror or error)}") from error
        if (found.size, found.modified) != (self.size, self.modified):
            raise CampaignError(f"{one_line(self.path.name)} was changed while it was in use")
        return found


@dataclass(frozen=True, slots=True)
class FolderVersion:
    """The files of a folder, all of them: one that is replaced, added or removed makes another version."""

    path: Path
    files: tuple[FileVersion, ...]

    @classmethod
    def of(cls, path: Path, names: Sequence[str]) -> Self:
        """Look at the files of these names.

        Raises:
            OSError: one isn't there any more.
        """
        return cls(path, tuple(FileVersion.of(path / name) for name in names))

    def is_current(self) -> bool:
        """Whether the folder still has these versions of these files, and no others."""
        return self._is_same_list() and all(item.is_current() for item in self.files)

    def change(self) -> str | None:
        """What to say where the results of this version, which was sent, are joined with another one."""
        if not self._is_same_list():
            return changed_since(self.path)
        return next(filter(None, (item.change() for item in self.files)), None)

    def check(self) -> None:
        """Refuse another version.

        Raises:
            CampaignError: a file was replaced, added or removed.
        """
        with file_errors(self.path):
            if not self._is_same_list():
                raise CampaignError(f"{one_line(self.path.name)} was changed while it was in use: it has other files")
        for item in self.files:
            item.check()

    def _is_same_list(self) -> bool:
        try:
            return visible_names(self.path) == {item.path.name for item in self.files}
        except (FileNotFoundError, NotADirectoryError):
            return False


Version = FileVersion | FolderVersion
"""What a table was read from."""


def visible_names(folder: Path) -> set[str]:
    """What is in a folder, but for what hides, or begins with `_`: notes that others have left, such as `_SUCCESS`.

    Raises:
        OSError: the folder can't be read.
    """
    return {name for name in os.listdir(folder) if not name.startswith((".", "_"))}  # noqa: PTH208 - names are enough


def changed_since(path: Path) -> str:
    """One line about a table that isn't any more what was sent."""
    return (
        f"{one_line(path.name)} was changed since a run read it: the results join the table as it is now; "
        "what was sent is found by its key"
    )
