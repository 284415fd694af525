"""What the integration tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from turbobatch.client import TurboClient


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A new sandbox with the usual credentials, listening."""
    with Sandbox() as running:
        yield running


@pytest.fixture
def client(sandbox: Sandbox) -> Iterator[TurboClient]:
    """A v2 account at the sandbox."""
    made = sandbox.client()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, where a Campaign made in Python has its journal, without anybody's credentials."""
    monkeypatch.chdir(tmp_path)
    for name in list(os.environ):
        if name.startswith("TURBOSMTP_"):
            monkeypatch.delenv(name)
    return tmp_path
