"""What the unit tests share."""

from __future__ import annotations

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
