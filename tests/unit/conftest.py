"""What the unit tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from turbobatch.journal import JournalUrl, SqliteJournal, journal_place, open_journal
from turbobatch.journal.postgres import PostgresJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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


@pytest.fixture
def url(database: str) -> JournalUrl:
    """A database without a journal."""
    place = journal_place(database)
    assert isinstance(place, JournalUrl)
    return place


@pytest.fixture
def opened(url: JournalUrl) -> Iterator[Callable[[], PostgresJournal]]:
    """Open the journal of "receipts" there as another process would, as often as you like."""
    held: list[PostgresJournal] = []

    def make() -> PostgresJournal:
        journal = open_journal(url, "receipts")
        assert isinstance(journal, PostgresJournal)
        held.append(journal)
        return journal

    yield make
    for item in held:
        item.close()
