"""What the integration tests share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A new sandbox with the usual credentials, listening."""
    with Sandbox() as running:
        yield running
