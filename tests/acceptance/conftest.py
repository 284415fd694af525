"""The command as a process of its own, against a sandbox in the test's process, over real sockets."""

from __future__ import annotations

import contextlib
import gc
import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

import pytest

from tests import forks
from turbobatch.cli import main
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMMAND = Path(sys.executable).with_name("turbobatch")
HERE = Path(__file__).parent
PATIENCE = 60  # seconds after which a test gives up; nothing here takes nearly as long

CAMPAIGN = """
name = "letters"
[recipients]
path = "people.csv"
key = "id"
[message]
from = "Acme <shop@acme.example>"
to = "{{ name }} <{{ email }}>"
subject = "Letter {{ id }}"
text = "letter.txt"
[send]
concurrency = 2
"""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run these tests without coverage: most of their time is a command's start, which it makes half as long again."""
    for item in items:
        if item.path.is_relative_to(HERE) and item.get_closest_marker("measured") is None:
            item.add_marker(pytest.mark.unmeasured)


@contextlib.contextmanager
def as_it_was() -> Iterator[None]:
    """Undo what the command line does to its process: signals, logging, the search for cycles."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    root, threshold = logging.root, gc.get_threshold()
    level, root.handlers, listening = root.level, [], root.handlers
    try:
        yield
    finally:
        root.handlers = listening
        root.setLevel(level)
        gc.set_threshold(*threshold)
        for number, handler in handlers.items():
            signal.signal(number, handler)


class Command:
    """Runs `turbobatch` in `folder` with a clean environment and one account's credentials; as a process, or `here`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.startswith(("COVERAGE_", "COV_CORE_", "PYTHONPATH"))
        }
        self.environment = {"PATH": str(COMMAND.parent), "HOME": str(folder), "LC_ALL": "C.UTF-8", **kept}

    def use(self, sandbox: Sandbox, api: str = "v2", password: str = "sandbox") -> None:  # noqa: S107 - made up
        """Point the command at a sandbox, by the environment."""
        names = {
            "v1": ("TURBOSMTP_AUTHUSER", "TURBOSMTP_AUTHPASS"),
            "v2": ("TURBOSMTP_CONSUMER_KEY", "TURBOSMTP_CONSUMER_SECRET"),
        }
        for name in (*names["v1"], *names["v2"]):
            self.environment.pop(name, None)
        user, secret = names[api]
        self.environment |= {user: "sandbox", secret: password, "TURBOSMTP_BASE_URL": sandbox.base_url(api)}

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run it to its end, without a terminal."""
        process = self.start(*arguments)
        out, err = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def here(self, *arguments: object) -> subprocess.CompletedProcess[str]:
        """Run it in this process, in a tenth of the time: what only looks, settles, is refused, or prepares a test."""
        argv = ["turbobatch", *map(str, arguments)]
        out, err = io.StringIO(), io.StringIO()
        with (
            as_it_was(),
            contextlib.chdir(self.folder),
            mock.patch.dict(os.environ, self.environment, clear=True),
            mock.patch.object(sys, "argv", argv),
            Path(os.devnull).open(encoding="utf-8") as nobody,
            mock.patch.object(sys, "stdin", nobody),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as left,
        ):
            main()
        return subprocess.CompletedProcess(argv, int(left.value.code or 0), out.getvalue(), err.getvalue())

    def start(self, *arguments: object, stdin: int = subprocess.DEVNULL, alone: bool = False) -> subprocess.Popen[str]:
        """Start it; whoever does ends it. `alone`: in a process group of its own, as a terminal has it."""
        return forks.start(
            [COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env=self.environment,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            process_group=0 if alone else None,
        )


@pytest.fixture
def turbobatch(tmp_path: Path) -> Command:
    """The command, in an empty folder."""
    return Command(tmp_path)


@pytest.fixture
def sandbox(turbobatch: Command) -> Iterator[Sandbox]:
    """A sandbox that the command is pointed at, with v2 credentials."""
    with Sandbox() as running:
        turbobatch.use(running)
        yield running


@pytest.fixture
def slow_sandbox(turbobatch: Command) -> Iterator[Sandbox]:
    """The same, which takes its time for each answer."""
    with Sandbox(latency=0.2) as running:
        turbobatch.use(running)
        yield running


@pytest.fixture
def letters(tmp_path: Path) -> Callable[..., Path]:
    """Make a campaign of so many good rows (or of a given table), and return its folder."""

    def make(rows: int = 3, *, table: str | None = None, toml: str = CAMPAIGN, **files: str) -> Path:
        folder = tmp_path / "letters"
        folder.mkdir(exist_ok=True)
        people = [f"{number:03},Person {number},p{number}@example.org\n" for number in range(rows)]
        written = {
            "campaign.toml": toml,
            "people.csv": table if table is not None else "".join(["id,name,email\n", *people]),
            "letter.txt": "Dear {{ name }}\n",
            **{name.replace("__", "."): text for name, text in files.items()},
        }
        for name, text in written.items():
            (folder / name).write_text(text, encoding="utf-8")
        return folder

    return make


@pytest.fixture
def signals() -> Iterator[None]:
    """Let children hear Ctrl-C, even if the tests themselves run where it is ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def ledger() -> Iterator[Sandbox]:
    """A sandbox that takes its time."""
    with Sandbox(latency=0.1) as sandbox:
        yield sandbox
