"""What processes use of the processors while they run, and the PostgreSQL that the benchmarks use."""

from __future__ import annotations

import tempfile
import threading
import time
from bisect import bisect_left
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tests.database import Server

_EVERY = 0.2  # seconds


class Watched:
    """Groups of processes, read every now and then: seconds of CPU so far, by group."""

    def __init__(self, groups: Mapping[str, Callable[[], Sequence[Any]]]) -> None:
        self._groups = groups
        self._times: list[float] = []
        self._used: dict[str, list[float]] = {name: [] for name in groups}
        self._ended = threading.Event()

    def between(self, name: str, begin: float, end: float) -> float:
        """Seconds of CPU that a group used from one time to another (monotonic), between two readings in proportion."""
        return self._at(name, end) - self._at(name, begin)

    def _at(self, name: str, when: float) -> float:
        times, used = self._times, self._used[name]
        place = min(max(bisect_left(times, when), 1), len(times) - 1)
        share = (when - times[place - 1]) / (times[place] - times[place - 1])
        return used[place - 1] + share * (used[place] - used[place - 1])

    def read_on(self) -> None:
        """Read until `end`, and once more then."""
        self._read()
        while not self._ended.wait(_EVERY):
            self._read()
        self._read()

    def _read(self) -> None:
        self._times.append(time.monotonic())
        for name, processes in self._groups.items():
            self._used[name].append(used_by(processes()))

    def end(self) -> None:
        """Read no more."""
        self._ended.set()


@contextmanager
def watched(groups: Mapping[str, Callable[[], Sequence[Any]]]) -> Iterator[Watched]:
    """Read the groups' CPU as long as the block lasts."""
    found = Watched(groups)
    thread = threading.Thread(target=found.read_on, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        found.end()
        thread.join()


def used_by(processes: Sequence[Any]) -> float:
    """Seconds of CPU, with those of children that have ended."""
    import psutil

    total = 0.0
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            total += sum(process.cpu_times()[:4])  # user, system, and both of the children
    return total


def process_of(number: int) -> Callable[[], Sequence[Any]]:
    """One process, as a group."""
    import psutil

    return lambda: [psutil.Process(number)]


def children_but(number: int) -> Callable[[], Sequence[Any]]:
    """Whatever this process has started, and what that has, but one of them."""
    import psutil

    return lambda: [item for item in psutil.Process().children(recursive=True) if item.pid != number]


@contextmanager
def database() -> Iterator[Server]:
    """Start a PostgreSQL of our own on the disk, with its defaults, that counts the calls of functions."""
    from tests.database import Server

    with counting(Server(Path(tempfile.gettempdir()))) as server:
        yield server


@contextmanager
def counting(server: Server) -> Iterator[Server]:
    """Have a server count the calls of functions; it ends with the block."""
    import psycopg

    try:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET track_functions = 'pl'")
            connection.execute("SELECT pg_reload_conf()")
        yield server
    finally:
        server.close()


def version(url: str) -> str:
    """PostgreSQL's major version."""
    import psycopg

    with psycopg.connect(url) as connection:
        return str(connection.info.server_version // 10000)


def written(url: str) -> int:
    """Bytes that a server has written to its write-ahead log."""
    import psycopg

    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')").fetchone()
    return int(found[0]) if found else 0


def commits(url: str, schema: str) -> int:
    """How many commits of the journal a schema has seen, once all its sessions have ended."""
    import psycopg

    others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    calls = "SELECT calls FROM pg_stat_user_functions WHERE schemaname = %s AND funcname = 'turbobatch_commit'"
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute(others).fetchone() != (0,):
            time.sleep(0.01)
        found = connection.execute(calls, (schema,)).fetchone()
    return int(found[0]) if found else 0


def file_system(folder: Path) -> str:
    """Tell what kind of file system a folder lies on."""
    try:
        lines = Path("/proc/mounts").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "a disk"
    mounts = {Path(words[1]): words[2] for words in map(str.split, lines)}
    return next((mounts[place] for place in (folder, *folder.parents) if place in mounts), "a disk")


def flush_seconds(folder: Path) -> float:
    """How long the disk under a folder takes to make 8 KB more of a file durable: the median of 200 times."""
    import os
    from statistics import median

    found = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(200):
            file.write(bytes(8192))
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - began)
    return median(found)
