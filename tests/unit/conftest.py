"""What the unit tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from turbobatch.journal import SqliteJournal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def journal() -> Iterator[SqliteJournal]:
    """A new journal in memory."""
    with SqliteJournal() as opened:
        yield opened


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The inodes of the files and folders that are written through to the disk, as they are."""
    inodes: list[int] = []
    fsync = os.fsync

    def noting(handle: int) -> None:
        fsync(handle)
        inodes.append(os.fstat(handle).st_ino)

    monkeypatch.setattr(os, "fsync", noting)
    return inodes
