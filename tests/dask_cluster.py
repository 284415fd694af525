"""A Dask cluster on this machine: its scheduler and each of its workers a process of its own, safe to be killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

from tests import forks

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from distributed import Client

_PATIENCE = 60.0  # seconds after which a test gives up; nothing here takes nearly as long
_HERE = ("--host", "127.0.0.1")


class DaskCluster:
    """A scheduler, and the workers that `add` starts.

    Args:
        folder: where they leave their files, and which is their home.
        environment: of all processes, beside PATH, PYTHONPATH and what coverage needs.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.folder = folder
        wanted = ("COVERAGE_", "COV_CORE_", "PYTHONPATH")
        kept = {name: value for name, value in os.environ.items() if name.startswith(wanted)}
        own = {"PATH": os.environ["PATH"], "HOME": str(folder), "DASK_TEMPORARY_DIRECTORY": str(folder)}
        self._environment = {**own, **kept, **environment}
        self._started: list[subprocess.Popen[bytes]] = []
        self._client: Client | None = None
        found = folder / "scheduler.json"
        options = ("--port", "0", "--no-show", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", found)
        self.scheduler = self._start("dask_scheduler", *_HERE, *options)
        deadline = time.monotonic() + _PATIENCE
        while not (found.exists() and (text := found.read_text("utf-8")).endswith("}")):
            assert self.scheduler.poll() is None, self.log()
            assert time.monotonic() < deadline, "the scheduler doesn't start"
            time.sleep(0.01)
        self.address = str(json.loads(text)["address"])

    @property
    def workers(self) -> list[subprocess.Popen[bytes]]:
        """All that were started, or their nannies."""
        return self._started[1:]

    @property
    def client(self) -> Client:
        """The test's own look at it."""
        from distributed import Client

        if self._client is None:
            self._client = Client(self.address, set_as_default=False)
        return self._client

    def add(self, *, nanny: bool = False, **environment: str) -> subprocess.Popen[bytes]:
        """Start a worker with one thread; under a nanny another takes its place when it dies."""
        given = (*_HERE, "--nthreads", "1", "--memory-limit", "0", "--no-dashboard")
        return self._start("dask_worker", self.address, *given, "--nanny" if nanny else "--no-nanny", **environment)

    def ready(self, workers: int) -> DaskCluster:
        """Wait until there are so many workers."""
        deadline = time.monotonic() + _PATIENCE
        while len(self.client.nthreads()) != workers:
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.02)
        return self

    def pids(self) -> dict[str, int]:
        """The workers' process numbers, by their addresses; a nanny is none."""
        found: dict[str, int] = self.client.run(os.getpid)
        return found

    def set(self, name: str, value: object) -> None:
        """Change the environment of all workers."""
        self.client.run(exec, f"import os; os.environ[{name!r}] = {str(value)!r}")

    def busy(self) -> dict[str, tuple[str, ...]]:
        """What each worker has to do."""
        found: dict[str, tuple[str, ...]] = self.client.processing()
        return found

    def page(self, name: str) -> str:
        """A page of the scheduler's, for people to look at."""
        port = self.client.scheduler_info()["services"]["dashboard"]
        with urlopen(f"http://127.0.0.1:{port}/{name}") as answer:
            return str(answer.read(), "utf-8")

    def log(self) -> str:
        """What all processes have said."""
        return "\n".join(path.read_text("utf-8", "replace") for path in sorted(self.folder.glob("*.log")))

    def close(self) -> None:
        """End all of it."""
        if self._client is not None:
            self._client.close(timeout=1)
        for process in reversed(self._started):  # a worker says goodbye while its scheduler is there to hear it
            _end(process)

    def _start(self, module: str, *arguments: object, **environment: str) -> subprocess.Popen[bytes]:
        command: list[Any] = [sys.executable, "-m", f"distributed.cli.{module}", *map(str, arguments)]
        with (self.folder / f"{len(self._started)}.log").open("wb") as log:
            process = forks.start(command, cwd=self.folder, env=self._environment | environment, stdout=log, stderr=log)
        self._started.append(process)
        return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
