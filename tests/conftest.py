"""What all tests share."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests.database import DSN, Server, drop_schema, with_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Until = Callable[[Callable[[], Any]], None]

PATIENCE = 60.0  # seconds after which a test gives up; nothing here takes nearly as long

# A suite that was started in the background of a script inherits SIGINT ignored, and so would the commands that it
# presses Ctrl-C on: they would never end.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

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


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL database."""
    if DSN:
        yield DSN
        return
    server = Server()
    yield server.url
    server.close()


@pytest.fixture
def database(postgres: str) -> Iterator[str]:
    """The URL of an empty schema."""
    url, name = with_schema(postgres)
    yield url
    drop_schema(postgres, name)
