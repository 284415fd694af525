"""What all tests share."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable

    Until = Callable[[Callable[[], Any]], None]

PATIENCE = 60.0  # seconds after which a test gives up; nothing here takes nearly as long

settings.register_profile("turbobatch", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("turbobatch")


@pytest.fixture
def until() -> Until:
    """Wait until something is so."""

    def wait(is_so: Callable[[], Any]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not is_so():
            assert time.monotonic() < deadline, "waited in vain"
            time.sleep(0.005)

    return wait
