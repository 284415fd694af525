"""What all tests share."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import is_hypothesis_test, settings

from tests.database import DSN, Server, drop_schema, with_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    Until = Callable[[Callable[[], Any]], None]

PATIENCE = 60.0  # seconds after which a test gives up; nothing here takes nearly as long

# A suite that was started in the background of a script inherits SIGINT ignored, and so would the commands that it
# presses Ctrl-C on: they would never end.
if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("turbobatch", deadline=None)  # a busy machine is no fault of the code
settings.load_profile("turbobatch")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test without coverage, its fixtures too, if it is marked `unmeasured` or makes up many examples.

    Coverage makes it take up to four times as long, and sees nothing new from the second example on.
    """
    if item.get_closest_marker("unmeasured") is None and not is_hypothesis_test(getattr(item, "obj", None)):
        return (yield)
    with unmeasured():
        return (yield)


@contextmanager
def unmeasured() -> Iterator[None]:
    """Trace nothing in this thread, in threads that start now and in processes that are given our environment."""
    own, others = sys.gettrace(), threading.gettrace()
    if getattr(others, "__module__", None) != "coverage.collector":
        yield  # coverage traces nothing; a debugger goes on
        return
    told = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("COVERAGE_PROCESS_")}
    sys.settrace(None)
    threading.settrace(None)
    try:
        yield
    finally:
        os.environ.update(told)
        threading.settrace(others)
        sys.settrace(own)


@pytest.fixture
def until() -> Until:
    """Wait until something is so."""

    def wait(is_so: Callable[[], Any]) -> None:
        deadline = (began := time.monotonic()) + PATIENCE
        while not is_so():
            looked = time.monotonic()
            assert looked < deadline, "waited in vain"
            time.sleep(max(0.005, looked - began))  # what is waited for may need this very process
            began = time.monotonic()

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
