"""Which version of a file was opened: all that is read of it, now and later in a run, must come from that one."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from turbobatch.errors import CampaignError
from turbobatch.recipients.table import file_errors, one_line

if TYPE_CHECKING:
    from collections.abc import Iterator
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
        if self.is_current():
            return None
        return (
            f"{one_line(self.path.name)} was changed since a run read it: the results join the table as it is now; "
            "what was sent is found by its key"
        )

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
